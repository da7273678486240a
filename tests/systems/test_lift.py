"""The sheet of pictures."""

import torch


def test_the_sheet_shows_the_picture_four_views_and_their_normals(built, ball):
    system = built("fine", "guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
    sheet = system.pictures(ball(0))["views"]
    assert sheet.shape == (64, 160, 3)
    torch.testing.assert_close(sheet[:32, :32], ball(0).reference.rgba[0, ..., :3])
    assert sheet.min() >= 0 and sheet.max() <= 1 + 1e-6
