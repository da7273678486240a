"""Maps that are recorded and injected: whose they are, and that nothing stays behind."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from threestudio_like.priors.attention import attentions, injected, recorded
from threestudio_like.priors.base import Condition

COUNTS = {"cross": 4, "self": 4, "both": 8}  # of this U-Net's four transformer blocks


@pytest.fixture
def asked(small_denoiser):
    """A denoiser, and how it answers to tokens."""
    unet, x, t = small_denoiser(0, 12), torch.randn(2, 4, 16, 16), torch.tensor([500, 90])

    def answer(tokens: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return unet(x, t, Condition(tokens=tokens))

    return unet, answer


@pytest.mark.parametrize("kinds", list(COUNTS))
def test_recording_changes_nothing_and_a_map_is_a_share_for_each_token(asked, kinds):
    unet, answer = asked
    tokens = torch.randn(2, 3, 12)
    plain = answer(tokens)
    with recorded(unet, kinds) as maps:
        assert torch.equal(answer(tokens), plain)
    assert len(maps) == COUNTS[kinds] == len(attentions(unet, kinds))
    for each in maps:
        torch.testing.assert_close(each.float().sum(-1), torch.ones(each.shape[:2]), atol=2e-2, rtol=0)
        if kinds == "cross":
            assert each.shape[0] % 2 == 0 and each.shape[-1] == 3  # examples times heads, places, tokens
    assert all(type(each.processor) is AttnProcessor for each in attentions(unet, "both"))


def test_own_maps_injected_change_nothing(asked):
    unet, answer = asked
    tokens = torch.randn(2, 3, 12)
    with recorded(unet, "both") as maps:
        plain = answer(tokens)
    with injected(unet, "both", maps):
        assert torch.equal(answer(tokens), plain)


def test_the_maps_are_the_other_s_and_the_values_one_s_own(asked, monkeypatch):
    """By each layer's own hands: bmm(the other's maps, my values)."""
    unet, answer = asked
    one, other = torch.randn(2, 2, 3, 12)
    with recorded(unet, "cross") as maps:
        first = answer(one)
    seen, bmm = [], torch.bmm
    with injected(unet, "cross", maps):
        monkeypatch.setattr(torch, "bmm", lambda a, b: seen.append((a, b)) or bmm(a, b))
        mixed = answer(other)
    monkeypatch.undo()
    used = [a for a, _ in seen if any(a is each for each in maps)]
    assert len(used) == len(maps) and all(a is b for a, b in zip(used, maps, strict=True))
    layer = attentions(unet, "cross")[0]
    values = next(b for a, b in seen if a is maps[0])
    with torch.no_grad():
        own = layer.head_to_batch_dim(layer.to_v(other))
    torch.testing.assert_close(values.float(), own, atol=2e-2, rtol=2e-2)
    for pure in (first, answer(other)):
        assert (mixed - pure).abs().max() > 1e-4


def test_mistakes(asked, small_denoiser):
    unet, answer = asked
    with recorded(unet, "cross") as maps:
        answer(torch.randn(2, 3, 12))
    with pytest.raises(AssertionError, match="another batch"), injected(unet, "cross", maps):
        answer(torch.randn(2, 4, 12))
    with pytest.raises(AssertionError, match="not taken"), injected(unet, "cross", maps):
        pass
    assert all(type(each.processor) is AttnProcessor for each in attentions(unet, "both"))
    with pytest.raises(ValueError, match="reads no words"):
        attentions(small_denoiser(0, None), "cross")
