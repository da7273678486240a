"""Batches for making a scene from one picture: random cameras, and the picture with the camera that took it.

The picture is a file of the user's, or is rendered from a mesh (`object=`), so that the result can be scored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from threestudio_like.data import named, picture
from threestudio_like.data.cameras import Cameras, Pose, pixels
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.stream import endless
from threestudio_like.ranges import Count, Fraction, Seed, Share, Side
from threestudio_like.records import Batch, Mesh, View


class Image(LightningDataModule):
    """One picture and random cameras.

    image: the picture's file; object: a mesh's file or name instead. One of the two, the other null.
    pose: the camera that took `image`; object_pose: the one that takes `object`, in the mesh's own frame,
    under `light`; it stands further back if that is needed to have the mesh `within` this share of the side
    (from other directions, at that distance, a corner may still leave a picture).
    matting: gives a picture without alpha one.
    share: of the square's side that the longest side of a cut-out object takes.
    size: of the prepared square, which every resolution is resampled from.
    resolution: of the reference, as a schedule. max_pixels: files above it are refused.
    cues: gives the reference depth and normals; null: it has none.
    true_cues: those of the mesh `object` instead, which a user's picture does not have: to compare with.
    """

    def __init__(
        self,
        *,
        image: str | None,
        object: str | None,
        pose: Pose,
        object_pose: Pose,
        light: Light,
        matting: picture.Matte,
        cues: Callable[[View], View] | None,
        true_cues: bool,
        cameras: Cameras,
        resolution: Callable[[int], float],
        size: Side,
        share: Share,
        within: Fraction,
        threshold: Share,
        max_pixels: Count,
        seed: Seed,
    ) -> None:
        super().__init__()
        if (image is None) == (object is None):
            raise ValueError("give a picture (image=cup.jpg) or a mesh (object=duck.glb), one of the two")
        if true_cues and object is None:
            raise ValueError("true_cues: only a mesh (object=duck.glb) has them")
        pixels(resolution, 0)
        self.file, self.object = image, object
        self.poses, self.light = (pose, object_pose), light
        self.matting, self.cameras, self.resolution = matting, cameras, resolution
        self.cues, self.true_cues = cues, true_cues
        self.references: dict[int, View] = {}  # by size: cues are not asked for twice
        self.size, self.share, self.within, self.threshold = size, share, within, threshold
        self.max_pixels = max_pixels
        self.seed = seed

    def prepare(self) -> None:
        """Read the picture now: a bad one is known before anything heavy begins. There may be no log yet."""
        _ = self.master

    @property
    def remarks(self) -> list[str]:
        """What may be wrong with the picture."""
        return picture.remarks(self.cut[..., 3:])

    @cached_property
    def truth(self) -> Mesh | None:
        """The mesh that the picture is rendered from; none for a file of the user's."""
        return None if self.object is None else named.read(self.object)

    @cached_property
    def pose(self) -> Pose:
        """The camera that took the picture."""
        taken, posed = self.poses
        return taken if self.truth is None else posed.seeing(self.truth.vertices, self.within)

    @cached_property
    def cut(self) -> Float[Tensor, "H W 4"]:
        """The object cut out of the picture, still where it was."""
        if self.truth is not None:
            view = draw(self.truth, self.pose.camera(self.size), self.light)
            return torch.cat([view.rgb, view.alpha], dim=-1)[0]
        assert self.file is not None
        path = Path(self.file).expanduser()
        read = picture.read(path, self.max_pixels, 4 * self.size)
        return picture.cutout(read, self.matting, name=str(path), threshold=self.threshold)

    @cached_property
    def master(self) -> Float[Tensor, "size size 4"]:
        """The prepared square picture, straight alpha; one of a mesh is not moved, as its camera is known."""
        if self.truth is not None:
            return self.cut
        return picture.recentred(self.cut, size=self.size, share=self.share, threshold=self.threshold)

    def reference(self, side: int) -> View:
        """The picture at `side` pixels with its camera, and with depth and normals if they are asked for."""
        if side not in self.references:
            pixels = picture.resized(self.master, side, side)[None]
            self.references[side] = self._told(View(self.pose.camera(side), pixels[..., :3], pixels[..., 3:]))
        return self.references[side]

    def _told(self, view: View) -> View:
        if self.true_cues and self.truth is not None:
            drawn = draw(self.truth, view.camera, self.light)
            return view._replace(depth=drawn.depth, normal=drawn.normal)
        return view if self.cues is None else self.cues(view)

    @property
    def pictures(self) -> View:
        """All that is known of the object: the one picture."""
        return self.reference(self.size)

    def batch(self, step: int, share: int) -> Batch:
        """What a share of step `step` sees."""
        camera = self.cameras(self.seed, step, share, self.pose)
        return Batch(step, camera, self.reference(pixels(self.resolution, step)))

    def train_dataloader(self) -> DataLoader:
        """The stream from the trainer's step on."""
        return endless(self.batch, self.trainer)
