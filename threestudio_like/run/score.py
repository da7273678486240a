"""How near the exported model is to what it was made from: the file itself is read back and measured.

With `object=` the truth is the mesh that the picture was rendered from. The model is compared where it
stands: the picture's camera is known, so nothing is fitted to the truth. With a picture only its own view
can be judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.data.draw import OVERSAMPLING
from threestudio_like.data.draw import draw as draw_lit
from threestudio_like.data.image import Image
from threestudio_like.data.posed import PosedViews
from threestudio_like.export.draw import draw, over_white
from threestudio_like.export.mesh import read
from threestudio_like.metrics.image import mask_iou, psnr, ssim
from threestudio_like.metrics.shape import (
    chamfer,
    depths,
    normal_error_deg,
    occupancy,
    surface_points,
    volume_iou,
)
from threestudio_like.metrics.similarity import view_consistency
from threestudio_like.ops.camera import around
from threestudio_like.ranges import Cells, Count, Seed, Side
from threestudio_like.records import Mesh
from threestudio_like.run.composition import build

MARGIN = 1.02  # of the box that volumes are counted in, beyond the larger mesh


@runtime_checkable
class Embedder(Protocol):
    """What tells pictures apart, such as priors.embedding.Embedding."""

    def pictures(self, image: Float[Tensor, "B H W 4"]) -> Float[Tensor, "B D"]:
        """Of pictures over white with their alpha."""
        ...


class Score:
    """Callable: (data, folder) to metrics.

    views: new ones around the object at the picture's elevation, the nearest half a turn-step beside it.
    side: pixels of every view.
    directions: of the depth maps that say what is inside. resolution: cells a side of the volume.
    points: on each surface, for distances. seed: of those points.
    embedding: the part that embeds pictures, by which the new views agree with the picture and with each
        other, made when it is asked; null: that is not told.
    """

    after = "export"  # whose file it reads

    def __init__(
        self,
        *,
        views: Count,
        side: Side,
        directions: Count,
        resolution: Cells,
        points: Count,
        seed: Seed,
        embedding: Mapping[str, Any] | None,
    ) -> None:
        counts = {"views": views, "side": side, "directions": directions}
        for name, count in {**counts, "resolution": resolution, "points": points}.items():
            if count < 1:
                raise ValueError(f"{name}: at least 1, not {count}")
        self.views, self.side = views, side
        self.directions, self.resolution, self.points, self.seed = directions, resolution, points, seed
        self.embedding = embedding

    def __call__(self, data: Image | PosedViews, folder: Path) -> dict[str, float]:
        """Measure export/model.glb of a run's folder, or the other file of it that was asked for."""
        files = [folder / "export" / f"model.{suffix}" for suffix in ("glb", "obj", "ply")]
        made = [file for file in files if file.exists()]
        if not made:
            raise ValueError(f"no model.glb to measure in {folder / 'export'}")
        model = read(made[0])
        front = {**self.agreement(model, data), **self.front(model, data)}
        truth = data.truth
        if truth is None:
            return front
        return {**self.shape(model, truth), **self.novel(model, truth, data), **front}

    def front(self, model: Mesh, data: Image | PosedViews) -> dict[str, float]:
        """At the picture's own camera."""
        reference = data.reference(self.side)
        view = draw(model, reference.camera, OVERSAMPLING)
        return {
            "front_psnr": float(psnr(over_white(view), over_white(reference))),
            "mask_iou": float(mask_iou(view.alpha, reference.alpha)),
        }

    @torch.no_grad()
    def agreement(self, model: Mesh, data: Image | PosedViews) -> dict[str, float]:
        """Of new views, by what the embedding takes for alike; no truth is needed."""
        if self.embedding is None:
            return {}
        embedding: Embedder = build(self.embedding, "score.embedding")
        reference = data.reference(self.side)
        seen = draw(model, around(reference.camera, self.views, 0.5), OVERSAMPLING)
        views, picture = embedding.pictures(seen.rgba), embedding.pictures(reference.rgba)
        found = {"view_similarity": float(F.cosine_similarity(views, picture, dim=-1).mean())}
        if self.views > 1:
            found["view_consistency"] = float(view_consistency(views))
        return found

    def novel(self, model: Mesh, truth: Mesh, data: Image | PosedViews) -> dict[str, float]:
        """From new views: its own colours against the mesh under the picture's light; the normals of both."""
        camera = around(data.reference(self.side).camera, self.views, 0.5)
        seen, true = draw(model, camera, OVERSAMPLING), draw_lit(truth, camera, data.light)
        assert seen.normal is not None and true.normal is not None
        both = ((seen.alpha >= 0.5) & (true.alpha >= 0.5))[..., 0]
        return {
            "novel_psnr": float(psnr(over_white(seen), over_white(true)).mean()),
            "novel_ssim": float(ssim(over_white(seen), over_white(true)).mean()),
            "normal_error_deg": normal_error_deg(seen.normal[both], true.normal[both]),
        }

    def shape(self, model: Mesh, truth: Mesh) -> dict[str, float]:
        """Volumes and surfaces, as they are seen from outside."""
        reach = MARGIN * float(max(model.vertices.abs().max(), truth.vertices.abs().max()))
        maps = [depths(mesh, reach, self.directions) for mesh in (model, truth)]
        inside = [occupancy(each, reach, self.resolution) for each in maps]
        points = [
            surface_points(mesh, each, self.points, self.seed)
            for mesh, each in zip((model, truth), maps, strict=True)
        ]
        return {"volume_iou": volume_iou(*inside), "chamfer": chamfer(*points)}
