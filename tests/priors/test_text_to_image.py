"""The text prior: words and view words count, and the null condition is the empty prompt."""

import torch

from threestudio_like.ops.camera import orbit


def camera(*azimuths: float):
    ones = torch.ones(len(azimuths))
    return orbit(
        azimuth=torch.tensor(azimuths), elevation=0 * ones, distance=ones, fov_y=ones, height=16, width=16
    )


def test_words_and_views_count(text_to_image):
    prior = text_to_image()
    with torch.no_grad():
        tokens = prior.condition(["cup", "cup", "cap", "cup"], camera(0.0, 3.1, 0.0, 0.1), None).tokens
    torch.testing.assert_close(tokens[0], tokens[3])
    assert min((tokens[0] - tokens[1]).abs().max(), (tokens[0] - tokens[2]).abs().max()) > 1e-3


def test_null_is_what_training_drops_to(text_to_image):
    prior = text_to_image()
    with torch.no_grad():
        condition = prior.condition(["cup", "jug", "pot"], camera(0.0, 1.0, 2.0), None)
        null = prior.null(condition)
        dropped = prior.train_condition(condition, torch.tensor([0.09, 0.11, 0.5]))
    torch.testing.assert_close(dropped.tokens[0], null.tokens[0])
    torch.testing.assert_close(dropped.tokens[1:], condition.tokens[1:])


def test_predicts(text_to_image):
    prior = text_to_image()
    with torch.no_grad():
        condition = prior.condition(["cup", "jug"], camera(0.0, 1.0), None)
        x_t, t = torch.randn(2, *prior.shape), torch.tensor([10, 90])
        told, untold = prior.predict(x_t, t, condition), prior.predict(x_t, t, prior.null(condition))
    assert told.shape == x_t.shape and (told - untold).abs().max() > 1e-4
