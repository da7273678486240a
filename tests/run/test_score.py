"""A model that is the truth gets full marks; one that is not gets the marks that geometry says."""

import pytest
import torch
import trimesh
from PIL import Image as Picture

from threestudio_like.data import objects
from threestudio_like.data.cameras import Cameras, Pose
from threestudio_like.data.draw import Light
from threestudio_like.data.image import Image
from threestudio_like.export.mesh import write_glb
from threestudio_like.records import Mesh
from threestudio_like.run.score import Score

FLAT = Light([0.0, 0.0, 1.0], 1.0, 0.0)  # ambient alone: what a baked base colour can match
POSE = Pose(30.0, 20.0, 1.6, 49.134)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    shape = trimesh.creation.capsule(height=1.0, radius=0.4, count=[24, 24])
    shape.visual.vertex_colors = [200, 80, 40, 255]
    shape.export(path / "truth.ply")
    return path


def data(folder, **source) -> Image:
    cameras = Cameras(
        azimuth=[-180.0, 180.0],
        elevation=[0.0, 30.0],
        distance=[1.0, 1.0],
        fov_y=[49.134, 49.134],
        uniform_share=0.5,
        progressive_until=0,
        resolution=lambda step: 16,
        batch_size=1,
    )
    return Image(
        **({"image": None, "object": str(folder / "truth.ply")} | source),
        pose=POSE,
        object_pose=POSE,
        light=FLAT,
        matting=lambda rgb: rgb[..., :1],
        cues=None,
        true_cues=False,
        cameras=cameras,
        resolution=lambda step: 16,
        size=192,
        share=0.75,
        within=0.95,
        threshold=0.05,
        max_pixels=10**6,
        seed=0,
    )


def scored(folder, scale: float, source) -> dict[str, float]:
    truth = objects.read(folder / "truth.ply")
    texture = (torch.tensor([200, 80, 40]) / 255).expand(4, 4, 3).clone()
    uv = torch.tensor([[0.5, 0.5]])
    model = Mesh(
        truth.vertices * scale, truth.faces, uv=uv, uv_faces=torch.zeros_like(truth.faces), texture=texture
    )
    write_glb(folder / "export" / "model.glb", model)
    score = Score(views=4, side=48, directions=48, resolution=32, points=4000, seed=0, embedding=None)
    return score(source, folder)


def test_the_truth_itself(folder):
    found = scored(folder, 1.0, data(folder))
    assert found["volume_iou"] > 0.999 and found["mask_iou"] > 0.98
    assert found["front_psnr"] > 38 and found["novel_psnr"] > 45 and found["novel_ssim"] > 0.999
    assert found["normal_error_deg"] < 6  # facets against smooth normals
    assert found["chamfer"] < 0.02  # between samples of one surface


def test_a_smaller_copy_gets_what_geometry_says(folder):
    found = scored(folder, 0.8, data(folder))
    assert found["volume_iou"] == pytest.approx(0.8**3, abs=0.05)
    assert found["mask_iou"] == pytest.approx(0.8**2, abs=0.05)
    assert 0.03 < found["chamfer"] < 0.08
    assert found["novel_psnr"] < 25


def test_a_picture_has_no_truth_but_its_own_view(folder):
    Picture.new("RGBA", (20, 40), (200, 80, 40, 255)).save(folder / "truth.png")
    source = data(folder, image=str(folder / "truth.png"), object=None)
    source.matting = lambda rgb: torch.ones_like(rgb[..., :1])
    assert set(scored(folder, 1.0, source)) == {"front_psnr", "mask_iou"}


def test_without_a_model_it_says_so(tmp_path, folder):
    score = Score(views=4, side=48, directions=8, resolution=8, points=10, seed=0, embedding=None)
    with pytest.raises(ValueError, match="no model.glb to measure in "):
        score(data(folder), tmp_path)


def test_settings_are_checked_before_a_run():
    with pytest.raises(ValueError, match="views: at least 1"):
        Score(views=0, side=48, directions=8, resolution=8, points=10, seed=0, embedding=None)


class Brightness:
    """Says of a picture how red and how blue it is."""

    def pictures(self, image):
        return (image[..., [0, 2]] * image[..., 3:]).mean((1, 2))


BRIGHTNESS = {"_target_": f"{__name__}.Brightness"}


def test_an_embedding_tells_how_views_agree_without_a_truth(folder):
    """One that sees brightness alone: one colour all around is like itself, two are not."""
    score = Score(views=2, side=32, directions=8, resolution=8, points=10, seed=0, embedding=BRIGHTNESS)
    source = data(folder, object=str(folder / "truth.ply"))
    alike = score.agreement(source.truth, source)
    assert alike["view_similarity"] > 0.999 and alike["view_consistency"] > 0.999
    side = source.truth.vertices @ source.reference(32).camera.c2w[0, :3, 0] > 0  # of the picture
    halves = torch.where(side[:, None], torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0]))
    unlike = score.agreement(source.truth._replace(rgb=halves), source)
    assert unlike["view_consistency"] < 0.9
    assert (
        score.embedding is not None
        and Score(views=2, side=32, directions=8, resolution=8, points=10, seed=0, embedding=None).agreement(
            source.truth, source
        )
        == {}
    )
