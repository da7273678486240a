"""Files are read back: the same geometry, the same pixels, axes as glTF wants them."""

import numpy as np
import pytest
import torch
import trimesh

from threestudio_like.export.mesh import read_glb, split, to_bytes, write_glb, write_obj, write_ply
from threestudio_like.ops.mesh import signed_volume
from threestudio_like.records import Mesh


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
    again = read_glb(tmp_path / "model.glb")
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


def test_split_makes_one_vertex_of_a_pair():
    parts = split(textured())
    assert len(parts.vertices) == 36 and parts.faces.max() == 35


def test_a_mesh_without_texture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="bake it first"):
        write_glb(tmp_path / "model.glb", Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])))
