"""A mesh in a file, and back: GLB (pictures inside), OBJ with MTL and PNG, PLY with colours at the vertices.

Files are y-up with the front on +z: the file's (x, y, z) is (y, z, x) of the house. The change of axes is a
rotation, so faces keep their winding. Only the base colour is known: the material is rough and not metallic.
"""

from __future__ import annotations

from io import BytesIO
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
from threestudio_like.ops.tangents import tangents
from threestudio_like.ops.texture import sample
from threestudio_like.records import Mesh

TO_FILE = [1, 2, 0]
TO_HOUSE = [2, 0, 1]
TANGENT = "_TANGENT"


class Split(NamedTuple):
    """A textured mesh as files want it: one index for a place and its (u, v)."""

    vertices: Float[Tensor, "T 3"]
    normals: Float[Tensor, "T 3"]  # of the whole surface: smooth across the seams
    uv: Float[Tensor, "T 2"]
    faces: Int[Tensor, "F 3"]


def write_glb(path: Path, mesh: Mesh) -> None:
    """Binary glTF with the pictures inside; with tangents if there is a normal map."""
    material = PBRMaterial(
        name=path.stem,
        baseColorTexture=_image(mesh.texture),
        normalTexture=None if mesh.normal_map is None else _image(mesh.normal_map),
        roughnessFactor=1.0,
        metallicFactor=0.0,
    )
    parts = split(mesh)
    model = _model(parts, material)
    if mesh.normal_map is not None:
        model.vertex_attributes[TANGENT] = tangents(*parts)[:, [*TO_FILE, 3]].numpy()
    scene = trimesh.Scene()
    scene.add_geometry(model, geom_name=path.stem)
    write(path, as_bytes(scene.export(file_type="glb", include_normals=True, tree_postprocessor=_standard)))


def _standard(tree: dict[str, Any]) -> None:
    """The name that glTF has for tangents; trimesh writes them as an attribute of somebody's own."""
    for each in tree["meshes"]:
        for primitive in each["primitives"]:
            attributes = primitive["attributes"]
            if TANGENT in attributes:
                attributes["TANGENT"] = attributes.pop(TANGENT)


def write_obj(path: Path, mesh: Mesh) -> None:
    """OBJ, with <stem>.mtl and <stem>.png beside it, and <stem>-normal.png if there is a normal map."""
    model = _model(split(mesh), SimpleMaterial(image=_image(mesh.texture), name=path.stem))
    text, others = export_obj(
        model, include_normals=True, return_texture=True, mtl_name=f"{path.stem}.mtl", header=None
    )
    if mesh.normal_map is not None:
        image, file = f"{path.stem}-normal.png", BytesIO()
        _image(mesh.normal_map).save(file, "png")
        others = {image: file.getvalue(), **others}
        others[f"{path.stem}.mtl"] += f"\nnorm {image}".encode()
    for name, content in others.items():  # what the OBJ refers to comes first
        write(path.with_name(name), content)
    write(path, text)


def write_ply(path: Path, mesh: Mesh) -> None:
    """Binary PLY of the vertices as they are, not split at seams; of a texture, the mean of its corners."""
    colors = mesh.rgb
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        corners, at = mesh.faces.reshape(-1), sample(mesh.texture, mesh.uv)[mesh.uv_faces.reshape(-1)]
        total = torch.zeros_like(mesh.vertices).index_add(0, corners, at)
        colors = total / corners.bincount(minlength=len(total)).clamp(min=1)[:, None]
    model = trimesh.Trimesh(
        mesh.vertices[:, TO_FILE].numpy(),
        mesh.faces.numpy(),
        vertex_colors=None if colors is None else to_bytes(colors),
        process=False,
    )
    write(path, as_bytes(model.export(file_type="ply")))


def read(path: Path) -> Mesh:
    """What was written, in the house's axes, where it stands; seams are sewn up again.

    An OBJ's normal map is not read.
    """
    model = trimesh.load_scene(path, process=False).to_mesh()
    corners = torch.from_numpy(np.array(model.vertices, dtype=np.float32))[:, TO_HOUSE]
    faces = torch.from_numpy(np.array(model.faces, dtype=np.int64))
    vertices, index = corners.unique(dim=0, return_inverse=True)
    mesh = Mesh(vertices, index[faces])
    if model.visual.kind != "texture":
        rgb = torch.zeros_like(vertices)
        rgb[index] = torch.from_numpy(np.array(model.visual.vertex_colors[:, :3], dtype=np.float32)) / 255
        return mesh._replace(rgb=rgb)
    material = model.visual.material
    color, normal = (
        (material.baseColorTexture, material.normalTexture)
        if isinstance(material, PBRMaterial)
        else (material.image, None)
    )
    return mesh._replace(
        uv=torch.from_numpy(np.array(model.visual.uv, dtype=np.float32)),
        uv_faces=faces,
        texture=_values(color),
        normal_map=None if normal is None else _values(normal),
    )


def split(mesh: Mesh) -> Split:
    """Every pair of (vertex, uv) that a corner uses becomes one vertex."""
    if mesh.uv is None or mesh.uv_faces is None:
        raise ValueError("export: the mesh has no texture coordinates; bake it first")
    pairs, index = torch.unique(mesh.faces * len(mesh.uv) + mesh.uv_faces, return_inverse=True)
    vertex, corner = pairs // len(mesh.uv), pairs % len(mesh.uv)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    return Split(mesh.vertices[vertex], normals[vertex], mesh.uv[corner], index)


def as_bytes(content: dict[Any, Any] | bytes | str) -> bytes:
    """trimesh's exporters of binary formats give bytes, whatever their signature says."""
    assert isinstance(content, bytes)
    return content


def to_bytes(values: Float[Tensor, "*shape C"]) -> UInt8[np.ndarray, "*shape C"]:
    """[0, 1] to 0..255, rounded."""
    return (values.clamp(0, 1) * 255).round().byte().numpy()


def _image(values: Float[Tensor, "H W 3"] | None) -> Image.Image:
    if values is None:
        raise ValueError("export: the mesh has no texture; bake it first")
    return Image.fromarray(to_bytes(values))


def _values(image: Image.Image) -> Float[Tensor, "H W 3"]:
    return torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255)


def _model(parts: Split, material: PBRMaterial | SimpleMaterial) -> trimesh.Trimesh:
    return trimesh.Trimesh(
        vertices=parts.vertices[:, TO_FILE].numpy(),
        faces=parts.faces.numpy(),
        vertex_normals=parts.normals[:, TO_FILE].numpy(),
        visual=TextureVisuals(parts.uv.numpy(), material),
        process=False,
    )
