"""The data module: what a step sees is a function of its number; picture and mesh as sources."""

from pathlib import Path

import pytest
import torch
import trimesh
import yaml
from PIL import Image as Picture

from threestudio_like.data.cameras import Cameras, Pose
from threestudio_like.data.draw import Light
from threestudio_like.data.image import Image
from threestudio_like.ops.camera import spherical

CONFIGS = Path(__file__).parents[2] / "configs"


def module(**changes) -> Image:
    cameras = Cameras(
        azimuth=[-180.0, 180.0],
        elevation=[-10.0, 45.0],
        distance=[1.0, 1.0],
        fov_y=[50.0, 50.0],
        uniform_share=0.5,
        progressive_until=0,
        resolution=lambda step: 16,
        batch_size=2,
    )
    settings = dict(
        image=None,
        object=None,
        pose=Pose(0.0, 10.0, 1.6, 50.0),
        object_pose=Pose(30.0, 20.0, 1.6, 50.0),
        light=Light([0.6, 0.0, 0.8], 0.4, 0.6),
        matting=lambda rgb: torch.zeros(*rgb.shape[:2], 1),
        cues=None,
        true_cues=False,
        cameras=cameras,
        resolution=lambda step: 16 if step < 3 else 32,
        size=64,
        share=0.75,
        within=0.95,
        threshold=0.05,
        max_pixels=10**6,
        seed=0,
    )
    return Image(**(settings | changes))


@pytest.fixture
def cup(tmp_path) -> str:
    picture = Picture.new("RGBA", (90, 60))
    picture.paste((255, 0, 0, 255), (10, 20, 50, 40))
    picture.save(tmp_path / "cup.png")
    return str(tmp_path / "cup.png")


def test_a_picture_becomes_the_reference(cup):
    batch = module(image=cup).batch(0, 0)
    assert batch.step == 0 and batch.camera.c2w.shape == (2, 4, 4)
    view = batch.reference
    assert view.rgb.shape == (1, 16, 16, 3) and view.camera.height == 16
    assert view.alpha.mean() == pytest.approx(0.75 * 0.375, abs=0.02)
    assert torch.allclose(view.rgb[view.alpha[..., 0] > 0.1], torch.tensor([1.0, 0, 0]), atol=1e-3)
    assert torch.rad2deg(spherical(view.camera)[1]).item() == pytest.approx(10.0, abs=1e-3)


def test_all_pictures_are_the_one(cup):
    data = module(image=cup)
    assert torch.equal(data.pictures.rgb, data.reference(data.size).rgb)


def test_resolution_follows_the_step(cup):
    data = module(image=cup)
    assert data.batch(3, 0).reference.rgb.shape[1] == 32
    assert data.batch(3, 0).reference.camera.width == 32


def test_a_mesh_is_rendered_at_the_known_camera(tmp_path):
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "ball.ply")
    view = module(object=str(tmp_path / "ball.ply")).batch(5, 0).reference
    azimuth, elevation, _ = (torch.rad2deg(value).item() for value in spherical(view.camera))
    assert (azimuth, elevation) == (pytest.approx(30.0, abs=1e-3), pytest.approx(20.0, abs=1e-3))
    # a ball of radius 1/2 seen from 1.6: the tangent cone
    radius = (
        torch.tan(torch.asin(torch.tensor(0.5 / 1.6))) / torch.tan(torch.deg2rad(torch.tensor(25.0))) * 16
    )
    assert view.alpha.sum().item() == pytest.approx(torch.pi * float(radius) ** 2, rel=0.02)


def test_a_mesh_that_would_leave_its_picture_is_seen_from_further_away(tmp_path):
    trimesh.creation.box((1.0, 1.0, 1.0)).export(tmp_path / "box.ply")
    data = module(object=str(tmp_path / "box.ply"))
    batch = data.batch(5, 0)
    rim = torch.ones(64, 64, dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    assert data.cut[..., 3][rim].max() == 0 and not data.remarks
    seen = data.cut[..., 3].nonzero()
    assert max(seen.max().item() - 31.5, 31.5 - seen.min().item()) == pytest.approx(0.95 * 32, abs=1)
    away = spherical(batch.reference.camera)[2]
    assert away > 1.6 and torch.allclose(spherical(batch.camera)[2], away)  # from the sides, too


def test_cues_are_asked_for_once_for_each_size(cup):
    asked = []

    def estimator(view):
        asked.append(view.rgb.shape[1])
        return view._replace(depth=2 * view.alpha, normal=view.alpha.expand(-1, -1, -1, 3))

    data = module(image=cup, cues=estimator)
    assert torch.equal(data.batch(0, 0).reference.depth, 2 * data.reference(16).alpha)
    data.batch(1, 0), data.batch(3, 0)
    assert asked == [16, 32]
    assert module(image=cup).reference(16).depth is None


def test_true_cues_are_those_of_the_mesh(tmp_path, cup):
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "ball.ply")
    data = module(object=str(tmp_path / "ball.ply"), true_cues=True)
    view = data.reference(32)
    inside, eye = view.alpha[0, ..., 0] == 1, view.camera.c2w[0, :3, 3]
    # the middle of a ball of radius 1/2 seen from 1.6, and its normals towards the eye there
    assert view.depth[0, 15:17, 15:17].mean().item() == pytest.approx(1.1, abs=0.01)
    assert (view.normal[0, 16, 16] @ eye / 1.6).item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(view.normal[0][inside].norm(dim=-1), torch.ones(int(inside.sum())))
    with pytest.raises(ValueError, match="true_cues: only a mesh"):
        module(image=cup, true_cues=True)


def test_the_stream_starts_at_the_trainer_s_step_and_is_its_function(cup):
    class Trainer:
        global_step, global_rank, world_size, accumulate_grad_batches = 7, 0, 1, 1

    data = module(image=cup)
    data.trainer = Trainer()
    stream = iter(data.train_dataloader())
    seen = [next(stream) for _ in range(2)]
    assert [batch.step for batch in seen] == [7, 8]
    assert torch.equal(seen[1].camera.c2w, data.batch(8, 0).camera.c2w)
    assert not torch.equal(seen[1].camera.c2w, data.batch(8, 1).camera.c2w)


def test_one_source_and_only_one(cup):
    for image, mesh in ((None, None), (cup, "duck.glb")):
        with pytest.raises(ValueError, match=r"image=cup\.jpg.*object=duck\.glb"):
            module(image=image, object=mesh)


def test_a_bad_picture_is_known_before_training(tmp_path, cup, caplog):
    with pytest.raises(ValueError, match="image: .*none.png' is not there"):
        module(image=str(tmp_path / "none.png")).prepare()
    with pytest.raises(ValueError, match="object: .*none.glb: no such file"):
        module(object=str(tmp_path / "none.glb")).prepare()
    data = module(image=cup)
    data.prepare()
    assert data.remarks == [] and not caplog.records


def test_several_pieces_are_told_of(tmp_path):
    two = Picture.new("RGBA", (90, 60))
    for left in (10, 60):
        two.paste((255, 0, 0, 255), (left, 20, left + 20, 40))
    two.save(tmp_path / "two.png")
    data = module(image=str(tmp_path / "two.png"))
    (remark,) = data.remarks
    assert "several separate pieces" in remark


def test_what_leaves_the_picture_is_told_of_though_it_is_recentred(tmp_path):
    cut = Picture.new("RGBA", (90, 60))
    cut.paste((255, 0, 0, 255), (50, 20, 90, 60))
    cut.save(tmp_path / "cut.png")
    data = module(image=str(tmp_path / "cut.png"))
    assert data.master[[0, -1], :, 3].max() == 0 and "touches the picture's border" in data.remarks[0]


def test_a_mesh_s_light_is_the_one_that_priors_are_trained_under():
    read = [
        yaml.safe_load((CONFIGS / "data" / f"{name}.yaml").read_text())["light"]
        for name in ("image", "views")
    ]
    assert read[0] == read[1]
