"""The sheet of pictures."""

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
    outside = batch.reference.alpha[0, ..., 0] == 0
    assert (near[outside] == 1).all() and (facing[outside] == 1).all()
    torch.testing.assert_close(facing[~outside], torch.full_like(facing[~outside], 0.5))
