"""The control without geometry: as wide as the lift, and blind to cameras beyond the vector."""

import torch

from threestudio_like.priors.flat import Flat
from threestudio_like.priors.lift import Encoder


def flat() -> Flat:
    torch.manual_seed(0)
    return Flat(channels=4, width=8, groups=4, features=4, depths=4, out_channels=5, vector_channels=7).eval()


def test_it_knows_of_the_cameras_what_the_vector_says(views):
    made, picture, vector = flat(), torch.randn(1, 4, 16, 16), torch.randn(2, 7)
    with torch.no_grad():
        one = made(picture, views(1).camera, views(2).camera, vector)
        other = made(picture, views(1).camera, views(2).camera, vector)
        turned = made(picture, views(1).camera, views(2).camera, vector + 1)
    assert one.shape == (2, 5, 8, 8) and torch.equal(one, other)
    assert (one - turned).abs().max() > 1e-3 and (one[0] - one[1]).abs().max() > 1e-3


def test_the_vector_can_move_what_is_seen_across_the_whole_picture():
    """From corner to corner: it could learn to turn an object."""
    made, vector = flat(), torch.randn(1, 7)
    picture = torch.randn(1, 4, 32, 32, requires_grad=True)
    made.mix(made.encoder(torch.nn.functional.pixel_unshuffle(picture, 2), vector))[
        0, :, 0, 0
    ].sum().backward()
    assert picture.grad[..., -2:, -2:].abs().max() > 0


def test_gradients_reach_the_encoder_from_the_auxiliary_task(views):
    made = flat()
    features = made(torch.randn(1, 4, 16, 16), views(1).camera, views(2).camera, torch.randn(2, 7))
    made.regressed(features).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.encoder.parameters())


def test_the_encoder_s_names_do_not_depend_on_the_vector():
    """Weights of a lift trained before the control existed still fit."""
    sizes = {"in_channels": 16, "out_channels": 8, "width": 8, "groups": 4}
    plain, told = (set(Encoder(**sizes, vector_channels=v).state_dict()) for v in (None, 7))
    assert {name for name in told - plain} == {name for name in told if "time_emb_proj" in name}
    assert plain < told and "coarse.1.block.conv1.weight" in plain
