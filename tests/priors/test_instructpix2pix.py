"""InstructPix2Pix: it begins as a text prior, bit for bit; what it is told; what it forgets in training."""

import pytest
import torch

from threestudio_like.guidance.cfg import Dual
from threestudio_like.priors.base import Condition
from threestudio_like.priors.weights import save

CONV = "denoiser.unet.conv_in.weight"


@pytest.fixture
def pair(text_to_image, instructpix2pix, tmp_path):
    """A text prior and an editing prior that began with its weights."""
    text = text_to_image()
    save(text, tmp_path / "text", {})
    text = text_to_image(str(tmp_path / "text.safetensors"))  # as half precision left it
    return text, instructpix2pix(begin=str(tmp_path / "text.safetensors"))


def test_widening_adds_zeros_and_changes_nothing_else(pair):
    narrow, wide = (prior.state_dict() for prior in pair)
    assert set(wide) == {*narrow, "gain.weight", "gain.bias"}
    assert all(torch.equal(narrow[name], wide[name]) for name in narrow if name != CONV)
    assert torch.equal(wide[CONV][:, :16], narrow[CONV])
    assert wide[CONV].shape[1] == 32 and not wide[CONV][:, 16:].any()


@pytest.mark.parametrize(("bfloat16", "tolerance"), [(True, 0.0), (False, 1e-6)])
def test_at_first_it_is_the_text_prior_bit_for_bit(pair, views, monkeypatch, bfloat16, tolerance):
    """In bfloat16, which every CPU can do: in float32 a wider convolution may add up in another order."""
    monkeypatch.setattr("threestudio_like.priors.unet.multiplies_bfloat16", lambda device: bfloat16)
    narrow, wide = pair
    x_t, t = torch.randn(3, *wide.shape), torch.tensor([1, 50, 99])
    with torch.no_grad():
        condition = wide.condition(["make it red", "a cup", ""], views(3).camera, views(1))
        told = Condition(tokens=narrow.text(["make it red", "a cup", ""]))
        found, wanted = wide.predict(x_t, t, condition), narrow.predict(x_t, t, told)
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
        assert torch.equal(condition.tokens, told.tokens)


def test_the_picture_counts_once_its_weights_are_not_zero(pair, views):
    wide = pair[1]
    with torch.no_grad():
        wide.denoiser.unet.conv_in.weight[:, 16:] += 0.1
        one, other = (wide.condition(["make it red"], views(1).camera, views(1)) for _ in range(2))
        x_t, t = torch.randn(1, *wide.shape), torch.tensor([50])
        assert (wide.predict(x_t, t, one) - wide.predict(x_t, t, other)).abs().max() > 1e-3


def test_a_gain_alone_copies_the_picture_before(instructpix2pix, views):
    """v = (alpha / sigma) x_t - x / sigma: of a network that says nothing, gains of one level make it."""
    prior, view = instructpix2pix(), views(2)
    x_t, t = torch.randn(2, *prior.shape), torch.tensor([70, 70])
    with torch.no_grad():
        for parameter in prior.denoiser.parameters():
            parameter.zero_()
        alpha, sigma = prior.schedule.coefficients(t[:1], torch.zeros(1))
        prior.denoiser.gain.bias += alpha / sigma
        prior.gain.bias -= 1 / sigma
        eps = prior.predict(x_t, t, prior.condition(["", ""], view.camera, view))
        x = (x_t - sigma * eps) / alpha
    torch.testing.assert_close(x, prior.encode(view.rgba), atol=1e-4, rtol=1e-4)


def test_null_is_no_words_and_zeros(instructpix2pix, views):
    prior = instructpix2pix()
    with torch.no_grad():
        condition = prior.condition(["make it red"] * 2, views(2).camera, views(1))
        null = prior.null(condition)
        assert torch.equal(null.tokens[1], prior.text([""])[0])
    assert condition.image.shape == null.image.shape == (2, 16, 8, 8) and not null.image.any()


def test_dropout_in_the_paper_s_shares(instructpix2pix, views):
    prior = instructpix2pix()
    u = (torch.arange(100) + 0.5) / 100
    with torch.no_grad():
        condition = prior.condition(["make it red"] * 100, views(100).camera, views(1))
        null, dropped = prior.null(condition), prior.train_condition(condition, u)
    no_text = (dropped.tokens == null.tokens).flatten(1).all(1)
    no_picture = (dropped.image == 0).flatten(1).all(1)
    shares = [no_text & no_picture, no_text & ~no_picture, no_picture & ~no_text, ~no_text & ~no_picture]
    assert [int(share.sum()) for share in shares] == [5, 5, 5, 85]


def test_dropout_counted_over_many_examples(instructpix2pix, views):
    """5 % forget both, 5 % the words, 5 % the picture: two numbers of chance would make it 1, 9, 9."""
    prior, count = instructpix2pix(), 20000
    with torch.no_grad():
        one = prior.condition(["make it red"], views(1).camera, views(1))
        tokens, image = 1 + one.tokens.expand(count, -1, -1), 1 + 0 * one.image[:, :, :1, :1]
        many = Condition(tokens=tokens, image=image.expand(count, -1, -1, -1))
        null = prior.null(many).tokens
        dropped = prior.train_condition(many, torch.rand(count, generator=torch.Generator().manual_seed(0)))
    words, picture = (dropped.tokens == null).flatten(1).all(1), (dropped.image == 0).flatten(1).all(1)
    for share in (words & picture, words & ~picture, picture & ~words):
        assert int(share.sum()) == pytest.approx(0.05 * count, abs=4 * (0.05 * 0.95 * count) ** 0.5)


def test_corners_of_dual_guidance_on_the_network(instructpix2pix, views):
    """Asked thrice in one batch, in this order: both, the picture alone, neither."""
    prior = instructpix2pix()
    x_t, t = torch.randn(2, *prior.shape), torch.tensor([20, 80])
    with torch.no_grad():
        condition = prior.condition(["make it red", "remove it"], views(2).camera, views(2))
        null = prior.null(condition)
        corners = {
            (1.0, 1.0): condition,
            (1.0, 0.0): condition._replace(tokens=null.tokens),
            (0.0, 0.0): null,
        }
        for (image_scale, text_scale), told in corners.items():
            guided = Dual(image_scale=image_scale, text_scale=text_scale, within=[0.0, 1.0])(
                prior, x_t, t, condition
            )
            torch.testing.assert_close(guided, prior.predict(x_t, t, told), atol=2e-2, rtol=2e-2)


def test_mistakes(instructpix2pix, text_to_image, views, tmp_path, zero123):
    with pytest.raises(ValueError, match="needs a picture"):
        instructpix2pix().condition([""], views(1).camera, None)
    save(text_to_image(), tmp_path / "text", {})
    save(zero123(), tmp_path / "other", {})
    path = str(tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match="the other is null"):
        instructpix2pix(begin=path, weights=path)
    with pytest.raises(ValueError, match="does not fit InstructPix2Pix"):
        instructpix2pix(weights=path)
    with pytest.raises(ValueError, match="could widen"):
        instructpix2pix(begin=str(tmp_path / "other.safetensors"))
