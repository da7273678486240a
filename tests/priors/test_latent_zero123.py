"""Zero-1-to-3 as published: three layouts of one network answer alike, and are told what the paper says."""

import math

import layouts
import pytest
import torch
import torch.nn.functional as F

from threestudio_like.ops.camera import orbit
from threestudio_like.priors import ldm
from threestudio_like.priors.latent_zero123 import MEAN, STD, LatentZero123, of_file
from threestudio_like.schedule.vp import VP, scaled_linear


def prior(weights, **changes) -> LatentZero123:
    values = {"size": 16, "ema": False, "fourth": "distance", "condition_scale": 1.0, "precision": "float32"}
    values["residency"] = None
    schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))
    return LatentZero123(schedule=schedule, weights=str(weights), **values | changes)


def camera(azimuth=0.0, elevation=0.0, distance=1.6):
    values = {"azimuth": azimuth, "elevation": elevation, "distance": distance, "fov_y": 0.857}
    return orbit(**{name: torch.tensor([value]) for name, value in values.items()}, height=16, width=16)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Every published layout of the same network."""
    folder = tmp_path_factory.mktemp("zero123")
    return {
        "folder": layouts.zero123_folder(folder / "a"),
        "other port": layouts.zero123_folder(folder / "b", "clip_camera_projection"),
        "ckpt": layouts.zero123_file(folder / "net.ckpt"),
        "safetensors": layouts.zero123_file(folder / "net.safetensors"),
    }


@pytest.mark.parametrize("layout", ["other port", "ckpt", "safetensors"])
def test_every_layout_gives_the_same_prior(weights, views, layout):
    one, other = prior(weights["folder"]), prior(weights[layout])
    x_t, t = torch.randn(2, 4, 8, 8), torch.tensor([10, 700])
    target, source = views(2).camera, views(1)
    with torch.no_grad():
        answers = [p.predict(x_t, t, p.condition(["", ""], target, source)) for p in (one, other)]
    assert torch.equal(*answers) and answers[0].shape == x_t.shape


def test_a_report_says_what_came_from_where(weights):
    networks, report = of_file(weights["ckpt"], ema=False)
    assert report.taken["cc_projection.weight"] == "cc_projection.weight"
    assert report.taken["unet.conv_out.bias"] == "model.diffusion_model.out.2.bias"
    whole = sum(len(network.state_dict()) for network in networks)
    assert len(report.taken) == whole
    others = {name for name in report.left if not name.startswith(ldm.EMA)}
    assert others == {"betas", "cond_stage_model.model.logit_scale"}
    assert "betas -> -" in report.lines() and len(report.lines()) == whole + len(report.left)


def test_averaged_weights_are_taken_where_there_are_some(weights):
    plain, averaged = (prior(weights["ckpt"], ema=ema).unet.state_dict() for ema in (False, True))
    for name, value in plain.items():
        torch.testing.assert_close(averaged[name], 0.5 * value)
    prior(weights["folder"], ema=True)  # which has none


@pytest.mark.parametrize(("fourth", "last"), [("distance", 0.2), ("polar", math.radians(60))])
def test_the_pose(weights, fourth, last):
    source, target = camera(elevation=math.radians(30)), camera(math.radians(90), 0.0, 1.8)
    found = prior(weights["folder"], fourth=fourth).pose(source, target)
    expected = torch.tensor([[math.radians(30), 1.0, 0.0, last]])  # going down is dtheta > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_condition_by_hand(weights, views):
    """The token is the projection of CLIP's embedding and the pose; the latent is the mode, unscaled."""
    one, source, target = prior(weights["folder"]), views(1), views(3).camera
    told = one.condition([""] * 3, target, source)
    x = F.interpolate(source.rgba.permute(0, 3, 1, 2)[:, :3], (16, 16), mode="area")
    with torch.no_grad():
        mode = layouts.vae().eval().encode(2 * x - 1).latent_dist.mode()
        mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
        embedding = layouts.clip().eval()(pixel_values=(x - mean) / std).image_embeds.expand(3, -1)
        token = layouts.projection()(torch.cat([embedding, one.pose(source.camera, target)], 1))
    torch.testing.assert_close(told.tokens, token[:, None], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told.image, mode.expand(3, -1, -1, -1), rtol=1e-4, atol=1e-5)
    scaled = prior(weights["folder"], condition_scale=0.5).condition([""] * 3, target, source)
    torch.testing.assert_close(scaled.image, 0.5 * told.image)
    null = one.null(told)
    assert not null.tokens.any() and not null.image.any() and null.image.shape == told.image.shape


def test_a_new_picture_is_looked_at_anew(weights, views):
    one, target = prior(weights["folder"]), views(1).camera
    first, second = (one.condition([""], target, view).image for view in (views(1), views(1)))
    assert not torch.equal(first, second)


def test_pictures_get_gradients_and_weights_none(weights):
    one = prior(weights["folder"])
    image = torch.rand(1, 32, 32, 4, requires_grad=True)
    x = one.encode(image)
    x.square().sum().backward()
    assert (
        x.shape[1:] == one.shape and torch.isfinite(image.grad).all() and image.grad[..., :3].abs().sum() > 0
    )
    assert not any(value.requires_grad for value in one.parameters())
    assert one.decode(x.detach()).shape == (1, 16, 16, 4)


def test_what_is_no_zero123_is_said(tmp_path):
    state = layouts.zero123_state()
    del state["cc_projection.bias"]
    with pytest.raises(ValueError, match=r"^weights: .*cc_projection: not a Zero-1-to-3$"):
        prior(layouts.zero123_file(tmp_path / "net.ckpt", state))
