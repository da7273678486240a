"""TensorBoard: Lightning's logger, and methods it lacks: pictures, videos, meshes, tables, results."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from threestudio_like import markdown

MAX_SIDE = 384  # pixels of a video's longer side: GIFs are large
MAX_FRAMES = 60


class TensorBoard(TensorBoardLogger):
    """Event files in save_dir/version. The methods are named as those of Lightning's WandbLogger."""

    def __init__(self, *, save_dir: str, version: str) -> None:
        super().__init__(save_dir, name="", version=version, default_hp_metric=False)

    @rank_zero_only
    def log_hyperparams(  # type: ignore[override]
        self, params: dict[str, Any], metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """They are told together with the results, which they are to be compared by."""
        if metrics is not None:
            super().log_hyperparams(params, metrics, step)

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[np.ndarray], step: int) -> None:
        """Pictures, H W 3 bytes."""
        for index, image in enumerate(images):
            self.experiment.add_image(f"{key}/{index}" if index else key, image, step, dataformats="HWC")

    @rank_zero_only
    def log_video(self, key: str, videos: Sequence[str], step: int) -> None:
        """Files of videos, as GIFs among the pictures: add_video wants a moviepy that is no longer made."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for index, file in enumerate(videos):
            content, width, height = gif(Path(file))
            shown = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=content)
            tag = f"{key}/{index}" if index else key
            writer = self.experiment._get_file_writer()
            writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=shown)]), step)

    @rank_zero_only
    def log_mesh(
        self,
        key: str,
        file: Path,
        step: int,
        *,
        vertices: Float[Tensor, "V 3"],
        faces: Int[Tensor, "F 3"],
        colors: Float[Tensor, "V 3"],
    ) -> None:
        """Triangles, y up, with colours at the vertices: to turn around in the tab MESH."""
        shades = (colors * 255).round().to(torch.uint8)
        self.experiment.add_mesh(key, vertices[None], shades[None], faces[None], global_step=step)

    @rank_zero_only
    def log_table(self, key: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        """A table of words and numbers, in the tab TEXT."""
        self.experiment.add_text(key, markdown.table(columns, data), 0)

    @rank_zero_only
    def log_result(self, parameters: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """What a run was given and what came out, for the tab HPARAMS."""
        self.log_hyperparams(dict(parameters), {f"result/{name}": value for name, value in scores.items()}, 0)


def watched(file: Path) -> tuple[list[Image.Image], float]:
    """The frames of a video, and how long each is shown."""
    with imageio.get_reader(file) as video:
        seconds = 1 / float(video.get_meta_data().get("fps", 10))  # type: ignore[attr-defined]
        frames = [Image.fromarray(np.asarray(frame)) for frame in video]  # type: ignore[attr-defined]
    del video
    with warnings.catch_warnings():  # imageio leaves the pipes of ffmpeg to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return frames, seconds


def gif(file: Path) -> tuple[bytes, int, int]:
    """An animation of a video of any kind, with its width and height in pixels."""
    frames, seconds = watched(file)
    stride = -(-len(frames) // MAX_FRAMES)
    kept = frames[::stride]
    for frame in kept:
        frame.thumbnail((MAX_SIDE, MAX_SIDE))
    written = BytesIO()
    duration = round(1000 * seconds * stride)
    kept[0].save(written, "GIF", save_all=True, append_images=kept[1:], duration=duration, loop=0)
    return written.getvalue(), *kept[0].size
