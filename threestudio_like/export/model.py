"""A finished scene to the files a user takes away: the model, a turntable, a preview."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch

from threestudio_like.export.bake import baked
from threestudio_like.export.mesh import write_glb, write_obj, write_ply
from threestudio_like.export.paint import painted
from threestudio_like.export.shots import shots
from threestudio_like.export.turntable import write_comparison, write_preview, write_turntable
from threestudio_like.export.unwrap import unwrapped
from threestudio_like.files import write
from threestudio_like.geometry.base import Cloud
from threestudio_like.ranges import Cells, Count, NonNegative, Side, Whole
from threestudio_like.records import Mesh, View
from threestudio_like.scene import Scene

log = logging.getLogger(__name__)
WRITERS = {"glb": write_glb, "obj": write_obj, "ply": write_ply}
CLOUD_SHARPNESS = 4.0  # of the weights of a cloud's own pictures


class Texture(NamedTuple):
    """What goes on the surface.

    size: texels a side. padding: texels around each piece of the atlas.
    smoothing: how often normals are averaged before the surface is cut into pieces.
    normal_map: whether to write one, where the geometry is a field.
    sharpness: of the weights of the pictures that are painted over the scene's colours (null: of none).
    """

    size: Side
    padding: Whole
    smoothing: Whole
    normal_map: bool
    sharpness: NonNegative | None


@runtime_checkable
class Pictures(Protocol):
    """Data that can be painted with."""

    @property
    def pictures(self) -> View:
        """What the scene was made to look like."""


class Model:
    """Callable: (scene, data, reference, folder) to the files in `folder`.

    formats: any of glb, obj, ply; the first is the one that the run reports.
    resolution: cells a side, for surfaces that are sampled from a field.
    frames, fps, side: of the turntable. views: on the preview's sheet.
    """

    def __init__(
        self,
        *,
        formats: Sequence[str],
        resolution: Cells,
        texture: Texture,
        frames: Count,
        fps: Count,
        side: Side,
        views: Count,
    ) -> None:
        for name in formats:
            if name not in WRITERS:
                raise ValueError(f"formats: cannot write {name!r}; choose of {', '.join(WRITERS)}")
        if not formats:
            raise ValueError(f"formats: none; choose of {', '.join(WRITERS)}")
        if side % 2:
            raise ValueError(f"side: a video's side must be even, not {side}")
        counts = {"resolution": resolution, "frames": frames, "fps": fps, "side": side, "views": views}
        for name, count in {**counts, "texture.size": texture.size}.items():
            if count < 1:
                raise ValueError(f"{name}: at least 1, not {count}")
        self.formats, self.resolution, self.texture = formats, resolution, texture
        self.frames, self.fps, self.side, self.views = frames, fps, side, views

    def __call__(self, scene: Scene, data: Pictures, reference: View, folder: Path) -> dict[str, str]:
        """Write everything; which file is what."""
        mesh = self.mesh(scene, data)
        files = {name: folder / f"model.{name}" for name in self.formats}
        for name, path in files.items():
            WRITERS[name](path, mesh)
        for name, content in scene.geometry.files().items():  # type: ignore[operator]
            files[Path(name).stem] = folder / name
            write(folder / name, content)
        files |= {name: folder / f"{name}.png" for name in ("preview", "front")}
        files["turntable"] = folder / "turntable.mp4"
        write_preview(files["preview"], mesh, reference, views=self.views, side=self.side)
        write_comparison(files["front"], mesh, reference)
        write_turntable(
            files["turntable"], mesh, reference.camera, frames=self.frames, side=self.side, fps=self.fps
        )
        return {name: str(path) for name, path in files.items()}

    def mesh(self, scene: Scene, data: Pictures) -> Mesh:
        """The scene's surface with its texture."""
        surface = scene.geometry.surface(self.resolution)  # type: ignore[operator]
        if len(surface.faces) == 0:
            raise ValueError("export: the scene has no surface; see the pictures of its last stage")
        size, padding, smoothing, normal_map, sharpness = self.texture
        flat = unwrapped(surface, size=size, padding=padding, smoothing=smoothing)
        mesh = baked(scene, flat, size=size, padding=padding, normal_map=normal_map)
        if isinstance(scene.geometry, Cloud):
            reach = float(torch.linalg.vector_norm(mesh.vertices, dim=-1).max())
            mesh = painted(mesh, shots(scene, reach), padding=padding, sharpness=CLOUD_SHARPNESS)
        if sharpness is None:
            return mesh
        return painted(mesh, data.pictures, padding=padding, sharpness=sharpness)
