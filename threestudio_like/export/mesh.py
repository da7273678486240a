"""A mesh in a file, and back: GLB (texture inside), OBJ with MTL and PNG, PLY with colours at the vertices.

Files are y-up with the front on +z: the file's (x, y, z) is (y, z, x) of the house. The change of axes is a
rotation, so faces keep their winding. Only the base colour is known: the material is rough and not metallic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from trimesh.exchange.obj import export_obj
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from threestudio_like.files import write
from threestudio_like.ops.mesh import vertex_normals
from threestudio_like.ops.texture import sample
from threestudio_like.records import Mesh

TO_FILE = [1, 2, 0]
TO_HOUSE = [2, 0, 1]


class Split(NamedTuple):
    """A textured mesh as files want it: one index for a place and its (u, v)."""

    vertices: Float[Tensor, "T 3"]
    normals: Float[Tensor, "T 3"]  # of the whole surface: smooth across the seams
    uv: Float[Tensor, "T 2"]
    faces: Int[Tensor, "F 3"]


def write_glb(path: Path, mesh: Mesh) -> None:
    """Binary glTF with the texture inside."""
    material = PBRMaterial(
        name=path.stem, baseColorTexture=_image(mesh), roughnessFactor=1.0, metallicFactor=0.0
    )
    model = _model(split(mesh), material)
    scene = trimesh.Scene()
    scene.add_geometry(model, geom_name=path.stem)
    write(path, as_bytes(scene.export(file_type="glb", include_normals=True)))


def write_obj(path: Path, mesh: Mesh) -> None:
    """OBJ, with <stem>.mtl and <stem>.png beside it."""
    model = _model(split(mesh), SimpleMaterial(image=_image(mesh), name=path.stem))
    text, others = export_obj(
        model, include_normals=True, return_texture=True, mtl_name=f"{path.stem}.mtl", header=None
    )
    for name, content in others.items():  # what the OBJ refers to comes first
        write(path.with_name(name), content)
    write(path, text)


def write_ply(path: Path, mesh: Mesh) -> None:
    """Binary PLY of the vertices as they are, not split at seams; their colours are read from the texture."""
    colors = None
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        rgb = torch.zeros_like(mesh.vertices)
        rgb[mesh.faces.reshape(-1)] = sample(mesh.texture, mesh.uv)[mesh.uv_faces.reshape(-1)]
        colors = to_bytes(rgb)
    model = trimesh.Trimesh(
        mesh.vertices[:, TO_FILE].numpy(), mesh.faces.numpy(), vertex_colors=colors, process=False
    )
    write(path, as_bytes(model.export(file_type="ply")))


def read_glb(path: Path) -> Mesh:
    """What `write_glb` wrote, in the house's axes, where it stands; seams stay split."""
    model = trimesh.load_scene(path, process=False).to_mesh()
    texture = np.asarray(model.visual.material.baseColorTexture.convert("RGB"), dtype=np.float32) / 255
    vertices = torch.from_numpy(np.array(model.vertices, dtype=np.float32))[:, TO_HOUSE]
    faces = torch.from_numpy(np.array(model.faces, dtype=np.int64))
    uv = torch.from_numpy(np.array(model.visual.uv, dtype=np.float32))
    return Mesh(vertices, faces, uv=uv, uv_faces=faces, texture=torch.from_numpy(texture))


def split(mesh: Mesh) -> Split:
    """Every pair of (vertex, uv) that a corner uses becomes one vertex."""
    if mesh.uv is None or mesh.uv_faces is None:
        raise ValueError("export: the mesh has no texture coordinates; bake it first")
    corners = torch.stack([mesh.faces.reshape(-1), mesh.uv_faces.reshape(-1)], dim=-1)
    pairs, index = corners.unique(dim=0, return_inverse=True)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    return Split(mesh.vertices[pairs[:, 0]], normals[pairs[:, 0]], mesh.uv[pairs[:, 1]], index.reshape(-1, 3))


def as_bytes(content: dict[Any, Any] | bytes | str) -> bytes:
    """trimesh's exporters of binary formats give bytes, whatever their signature says."""
    assert isinstance(content, bytes)
    return content


def to_bytes(values: Float[Tensor, "*shape C"]) -> UInt8[np.ndarray, "*shape C"]:
    """[0, 1] to 0..255, rounded."""
    return (values.clamp(0, 1) * 255).round().byte().numpy()


def _image(mesh: Mesh) -> Image.Image:
    if mesh.texture is None:
        raise ValueError("export: the mesh has no texture; bake it first")
    return Image.fromarray(to_bytes(mesh.texture))


def _model(parts: Split, material: PBRMaterial | SimpleMaterial) -> trimesh.Trimesh:
    return trimesh.Trimesh(
        vertices=parts.vertices[:, TO_FILE].numpy(),
        faces=parts.faces.numpy(),
        vertex_normals=parts.normals[:, TO_FILE].numpy(),
        visual=TextureVisuals(parts.uv.numpy(), material),
        process=False,
    )
