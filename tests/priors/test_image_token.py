"""The paper's token: what its projection begins as, what it depends on, and why a bias can stand for it."""

import torch
import torch.nn.functional as F

from threestudio_like.ops.camera import repeated
from threestudio_like.priors.image_token import Token


def token() -> Token:
    torch.manual_seed(0)
    return Token(channels=4, width=8, groups=4, out_channels=12).eval()


def test_without_its_pose_columns_it_begins_as_the_picture_s_embedding_to_the_bit(views):
    made, picture = token(), torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        made.project.weight[:, 12:].zero_()
        found = made(picture, views(1).camera, views(3).camera)
        embedding = made.widen(made.embed(F.pixel_unshuffle(picture, 2)))
    assert torch.equal(found, embedding.expand(3, -1))


def test_the_pose_counts_from_the_start_and_so_does_the_picture(views):
    made, source, target = token(), views(1).camera, views(2).camera
    one, other = torch.randn(2, 1, 4, 16, 16)
    with torch.no_grad():
        there, also = made(one, source, target)
        assert (there - also).abs().max() > 1e-2
        assert (made(other, source, target)[0] - there).abs().max() > 1e-2
    assert torch.equal(made.project.bias, torch.zeros(12))


def test_one_source_serves_many_targets(views):
    made, picture, source, target = token(), torch.randn(1, 4, 16, 16), views(1).camera, views(3).camera
    with torch.no_grad():
        together = made(picture, source, target)
        apart = made(picture.expand(3, -1, -1, -1), repeated(source, 3), target)
    torch.testing.assert_close(together, apart)


def test_attention_to_one_token_is_a_bias():
    """Whatever asks gets the same answer, so the token may as well join the time embedding."""
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    key = torch.randn(1, 1, 8)
    answers = attention(torch.randn(1, 5, 8), key, key)[0][0]
    assert (answers - answers[0]).abs().max() < 1e-6
