"""Files are read back: the same geometry, the same pixels, axes as glTF wants them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trimesh
from PIL import Image

from threestudio_like.export.draw import draw, over_white
from threestudio_like.export.mesh import read, split, to_bytes, write_glb, write_obj, write_ply
from threestudio_like.export.unwrap import unwrapped
from threestudio_like.metrics.image import psnr
from threestudio_like.ops.camera import orbit, rays
from threestudio_like.ops.mesh import neighbours, signed_volume
from threestudio_like.ops.tangents import tangents
from threestudio_like.ops.texture import sample
from threestudio_like.records import Camera, Mesh


def textured() -> Mesh:
    """A box twice as deep (x, the front) as wide, each triangle with a corner of the texture for itself."""
    box = trimesh.creation.box(extents=(2.0, 1.0, 0.5))
    faces = torch.tensor(box.faces)
    uv = torch.rand(3 * len(faces), 2, generator=torch.Generator().manual_seed(0))
    texture = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(1))
    texture = (texture * 255).round() / 255
    uv_faces = torch.arange(3 * len(faces)).reshape(-1, 3)
    return Mesh(
        torch.tensor(box.vertices, dtype=torch.float32), faces, uv=uv, uv_faces=uv_faces, texture=texture
    )


def corners(mesh: Mesh) -> torch.Tensor:
    return torch.cat([mesh.vertices[mesh.faces], mesh.uv[mesh.uv_faces]], dim=-1)


def test_glb_comes_back(tmp_path):
    mesh = textured()
    write_glb(tmp_path / "model.glb", mesh)
    again = read(tmp_path / "model.glb")
    assert torch.allclose(corners(again), corners(mesh), atol=1e-6)
    assert torch.equal(again.texture, mesh.texture)
    assert signed_volume(again.vertices, again.faces) == pytest.approx(1.0, rel=1e-5)


def test_glb_is_y_up_with_its_front_on_z_and_says_how_it_shines(tmp_path):
    write_glb(tmp_path / "model.glb", textured())
    model = trimesh.load_scene(tmp_path / "model.glb", process=False).to_geometry()
    assert np.allclose(model.extents, [1.0, 0.5, 2.0])
    material = model.visual.material
    assert material.metallicFactor == 0.0 and material.roughnessFactor == 1.0
    assert model.volume == pytest.approx(1.0)


def test_normals_in_the_file_are_smooth_across_seams(tmp_path):
    write_glb(tmp_path / "model.glb", textured())
    (model,) = trimesh.load_scene(tmp_path / "model.glb", process=False).geometry.values()
    assert len(model.vertices) == 36
    for corner in np.unique(model.vertices, axis=0):
        same = (model.vertices == corner).all(1)
        assert np.ptp(model.vertex_normals[same], axis=0).max() < 1e-5
        assert (model.vertex_normals[same] @ corner > 0).all()  # outward


def test_obj_comes_back_with_its_texture(tmp_path):
    mesh = textured()
    write_obj(tmp_path / "model.obj", mesh)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.mtl", "model.obj", "model.png"]
    model = trimesh.load_scene(tmp_path / "model.obj", process=False).to_geometry()
    assert model.volume == pytest.approx(1.0) and len(model.faces) == 12
    assert np.array_equal(np.asarray(model.visual.material.image.convert("RGB")), to_bytes(mesh.texture))


def test_ply_is_closed_and_has_the_texture_s_colours(tmp_path):
    mesh = textured()._replace(texture=torch.tensor([0.2, 0.4, 0.6]).expand(4, 4, 3).clone())
    write_ply(tmp_path / "model.ply", mesh)
    model = trimesh.load(tmp_path / "model.ply", process=False)
    assert model.is_watertight and model.volume == pytest.approx(1.0)
    assert (model.visual.vertex_colors[:, :3] == [51, 102, 153]).all()


def bumpy() -> Mesh:
    """A ball with a waist, unwrapped, with a colourful texture and a normal map that is not flat."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = torch.tensor(ball.vertices, dtype=torch.float32)
    waist = 1 - 0.5 * torch.exp(-((vertices[:, 2:] / 0.3) ** 2))
    vertices = 0.6 * vertices * torch.cat([waist, waist, torch.ones_like(waist)], dim=-1)
    mesh = unwrapped(Mesh(vertices, torch.tensor(ball.faces)), size=128, padding=3, smoothing=5)
    row, column = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    waves = torch.stack([(row / 5).sin(), (column / 4).sin(), ((row + column) / 7).cos()], dim=-1)
    tilt = F.normalize(torch.stack([waves[..., 0], waves[..., 1], torch.full((128, 128), 2.0)], -1), dim=-1)
    return mesh._replace(texture=0.5 + 0.4 * waves, normal_map=(1 + tilt) / 2)


def around(side: int) -> Camera:
    two = torch.tensor([0.4, 3.0])
    return orbit(
        azimuth=two, elevation=two / 5, distance=2 + 0 * two, fov_y=0.7 + 0 * two, height=side, width=side
    )


def traced(path: Path, camera: Camera) -> torch.Tensor:
    """The file as trimesh reads it, ray by ray in the file's own axes, texel by texel, on white."""
    model = trimesh.load_scene(path, process=False).to_mesh()
    origins, directions = (part.double().numpy().reshape(-1, 3)[:, [1, 2, 0]] for part in rays(camera))
    a, b, c = (model.vertices[model.faces[:, i]] for i in range(3))
    nearest, face, weights = (
        np.full(len(origins), np.inf),
        np.zeros(len(origins), int),
        np.zeros((len(origins), 3)),
    )
    for f in range(len(a)):
        across = np.cross(directions, c[f] - a[f])
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / (across @ (b[f] - a[f]))
            away = origins - a[f]
            v = (across * away).sum(1) * inverse
            turned = np.cross(away, b[f] - a[f])
            w, t = (directions * turned).sum(1) * inverse, turned @ (c[f] - a[f]) * inverse
            hit = (v >= 0) & (w >= 0) & (v + w <= 1) & (t < nearest)
        nearest[hit], face[hit] = t[hit], f
        weights[hit] = np.stack([1 - v - w, v, w], axis=1)[hit]
    corners, hit = model.faces[face], np.isfinite(nearest)
    if model.visual.kind == "texture":
        material = model.visual.material
        image = getattr(material, "baseColorTexture", None) or material.image
        texels = np.asarray(image.convert("RGB"), dtype=float) / 255
        uv = (model.visual.uv[corners] * weights[..., None]).sum(1)
        rows, columns = (1 - uv[:, 1]) * len(texels) - 0.5, uv[:, 0] * texels.shape[1] - 0.5
        rgb = np.zeros((len(uv), 3))
        for r, c in ((0, 0), (0, 1), (1, 0), (1, 1)):
            row, column = np.floor(rows).astype(int) + r, np.floor(columns).astype(int) + c
            part = (1 - abs(rows - row)) * (1 - abs(columns - column))
            rgb += part[:, None] * texels[row.clip(0, len(texels) - 1), column.clip(0, texels.shape[1] - 1)]
    else:
        rgb = (model.visual.vertex_colors[corners][..., :3] / 255 * weights[..., None]).sum(1)
    rgb[~hit] = 1
    return torch.from_numpy(rgb).float().reshape(len(camera.c2w), camera.height, camera.width, 3)


@pytest.mark.parametrize("name", ["glb", "obj", "ply"])
def test_files_read_again_have_the_same_pixels_for_us_and_for_others(tmp_path, name):
    """By our rasteriser and reader, and by rays through what trimesh reads."""
    mesh, camera = bumpy(), around(40)
    path = tmp_path / f"model.{name}"
    {"glb": write_glb, "obj": write_obj, "ply": write_ply}[name](path, mesh)
    ours = over_white(draw(read(path), camera, 1))
    assert psnr(ours, traced(path, camera)).min() > 55
    if name == "ply":  # a colour a vertex: of the texture what its vertices can hold
        at = sample(mesh.texture, mesh.uv)[mesh.uv_faces]
        rgb = [at[mesh.faces == vertex].mean(0) for vertex in range(len(mesh.vertices))]
        mesh = Mesh(mesh.vertices, mesh.faces, torch.stack(rgb))
    apart = (ours - over_white(draw(mesh, camera, 1))).abs().amax(-1) > 0.01
    assert apart.float().mean() < 0.003  # rounding may turn single pixels on an outline over


def test_a_normal_map_comes_back_with_tangents_that_any_reader_finds(tmp_path):
    mesh, camera = bumpy(), around(40)
    write_glb(tmp_path / "model.glb", mesh)
    again = read(tmp_path / "model.glb")
    one, two, flat = (draw(m, camera, 1).normal for m in (mesh, again, again._replace(normal_map=None)))
    assert (one - two).abs().max() < 0.02 and (one - flat).abs().mean() > 0.02
    content = (tmp_path / "model.glb").read_bytes()
    tree = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    (primitive,) = tree["meshes"][0]["primitives"]
    accessor = tree["accessors"][primitive["attributes"]["TANGENT"]]
    assert accessor["type"] == "VEC4" and accessor["componentType"] == 5126
    assert (
        tree["materials"][0]["normalTexture"]["index"]
        != tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["index"]
    )
    start = (
        28
        + int.from_bytes(content[12:16], "little")
        + tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
    )
    found = np.frombuffer(content, "<f4", 4 * accessor["count"], start).reshape(-1, 4)
    expected = tangents(*split(mesh))[:, [1, 2, 0, 3]].numpy()
    assert np.allclose(found, expected, atol=1e-6)


def test_an_obj_s_normal_map_is_in_its_folder_and_named_in_the_mtl(tmp_path):
    write_obj(tmp_path / "model.obj", bumpy())
    assert "norm model-normal.png" in (tmp_path / "model.mtl").read_text().splitlines()
    picture = np.asarray(Image.open(tmp_path / "model-normal.png"))
    assert np.array_equal(picture, to_bytes(bumpy().normal_map))


def test_seams_are_sewn_up_again(tmp_path):
    write_glb(tmp_path / "model.glb", bumpy())
    again = read(tmp_path / "model.glb")
    assert len(again.vertices) == len(bumpy().vertices) and (neighbours(again.faces) >= 0).all()


def test_split_makes_one_vertex_of_a_pair():
    parts = split(textured())
    assert len(parts.vertices) == 36 and parts.faces.max() == 35


def test_a_mesh_without_texture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="bake it first"):
        write_glb(tmp_path / "model.glb", Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])))
