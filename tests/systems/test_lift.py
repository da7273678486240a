"""The sheet of pictures, and what is said of losses without anything to compare with."""

import pytest
import torch

from systems.lift import cues


def test_the_sheet_shows_the_picture_four_views_and_their_normals(built, ball):
    system = built("fine", "guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
    sheet = system.pictures(ball(0))["views"]
    assert sheet.shape == (64, 160, 3)
    torch.testing.assert_close(sheet[:32, :32], ball(0).reference.rgba[0, ..., :3])
    assert sheet.min() >= 0 and sheet.max() <= 1 + 1e-6


def test_cues_are_shown_once_where_the_picture_has_them(built, ball):
    system = built("fine", "guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
    batch = ball(0)
    depth, normal = 1.6 * batch.reference.alpha, torch.zeros_like(batch.reference.rgb)
    told = batch._replace(reference=batch.reference._replace(depth=depth, normal=normal))
    assert set(system.pictures(batch)) == set(system.pictures(told._replace(step=7))) == {"views"}
    assert system.pictures(told)["cues"].shape == (32, 96, 3)
    picture, near, facing = cues(told.reference)
    alone = told._replace(reference=told.reference._replace(normal=None))  # an estimator of depth alone
    assert system.pictures(alone)["cues"].shape == (32, 64, 3)
    outside = batch.reference.alpha[0, ..., 0] == 0
    assert (near[outside] == 1).all() and (facing[outside] == 1).all()
    torch.testing.assert_close(facing[~outside], torch.full_like(facing[~outside], 0.5))


def test_a_loss_with_a_weight_and_nothing_to_compare_with_is_named_once(built, ball, caplog):
    off = ("guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
    system = built("fine", *off, "weights.depth=0.5")
    batch = ball(0)
    render = system.show(batch.reference.camera, 0)
    for _ in range(2):
        assert "depth" not in system.compared(render, batch)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("weights.depth does nothing: the picture comes without depth; +priors@stages.")
    caplog.clear()
    told = batch._replace(reference=batch.reference._replace(depth=torch.rand(1, 32, 32, 1)))
    other = built("fine", *off, "weights.depth=0.5")
    assert "depth" in other.compared(render, told) and not caplog.records


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_the_default_experiment_has_nothing_to_be_told(built, ball, caplog, stage):
    off = ("guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
    system = built(stage, *off)
    system.miss([name for name in system.reference[2:] if system.due(name, 0)])
    assert not caplog.records


def test_a_weight_without_its_guidance_is_named(built, ball):
    system = built("fine", "guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
    del system.guidance["view"]
    with pytest.raises(ValueError, match=r"there is no guidance\.view to tell it"):
        system.judged("view", ball(0).reference.rgba, ball(0))
