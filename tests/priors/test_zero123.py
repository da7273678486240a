"""Zero-1-to-3: what it is told, what it forgets in training, and what it cannot do without."""

import pytest
import torch

from threestudio_like.priors.base import Condition


@pytest.mark.parametrize("lifted", [True, False])
def test_condition_and_null(zero123, views, lifted):
    prior, target, reference = zero123(lifted), views(3), views(1)
    with torch.no_grad():
        condition = prior.condition([""] * 3, target.camera, reference)
        null = prior.null(condition)
        eps = prior.predict(torch.randn(3, *prior.shape), torch.tensor([1, 50, 99]), condition)
    assert condition.image.shape == (3, 16 + 8 * lifted, 8, 8)
    assert null.image.abs().max() == 0 == null.vector.abs().max()
    assert eps.shape == (3, 4, 16, 16)


def test_the_pose_changes_the_lift_but_not_the_picture(zero123, views):
    prior, reference = zero123(), views(1)
    with torch.no_grad():
        one, other = (prior.condition([""], views(1).camera, reference) for _ in range(2))
    picture = prior.picture_channels
    torch.testing.assert_close(one.image[:, :picture], other.image[:, :picture])
    assert (one.image[:, picture:] - other.image[:, picture:]).abs().max() > 1e-3


def test_dropout_in_the_paper_s_shares(zero123, views):
    prior = zero123()
    u = (torch.arange(100) + 0.5) / 100
    with torch.no_grad():
        condition = prior.condition([""] * 100, views(100).camera, views(1))
        condition = condition._replace(vector=condition.vector + 1, image=condition.image + 100)
        dropped = prior.train_condition(condition, u)
    no_pose = (dropped.vector == 0).all(1)
    no_picture = (dropped.image[:, : prior.picture_channels] == 0).flatten(1).all(1)
    no_lift = (dropped.image[:, prior.picture_channels :] == 0).flatten(1).all(1)
    assert torch.equal(no_pose, no_lift)
    shares = [no_pose & no_picture, no_pose & ~no_picture, no_picture & ~no_pose]
    assert [int(share.sum()) for share in shares] == [5, 5, 5]
    kept = ~(no_pose | no_picture)
    torch.testing.assert_close(dropped.image[kept], condition.image[kept])


def test_dropout_counted_over_many_examples(zero123, views):
    prior, count = zero123(lifted=False), 20000
    with torch.no_grad():
        one = prior.condition([""], views(1).camera, views(1))
        vector, image = one.vector[:, :1] * 0 + 1, one.image[:, :, :1, :1] * 0 + 1
        many = Condition(vector=vector.expand(count, -1), image=image.expand(count, -1, -1, -1))
        dropped = prior.train_condition(many, torch.rand(count, generator=torch.Generator().manual_seed(0)))
    pose, picture = dropped.vector[:, 0] == 0, (dropped.image == 0).flatten(1).all(1)
    for share in (pose & picture, pose & ~picture, picture & ~pose):
        assert int(share.sum()) == pytest.approx(0.05 * count, abs=4 * (0.05 * 0.95 * count) ** 0.5)


def test_the_card_says_what_it_is_told(zero123):
    prior = zero123()
    sigma = (1 - prior.schedule.alpha_bar).sqrt()
    told = {"pixels": 16, "prediction": prior.prediction, "pose": "pose", "lift": "lift"}
    noise = prior.described().pop("noise")
    assert prior.described() == {**told, "noise": noise} and noise.startswith(f"{len(sigma)} levels, sigma ")
    assert zero123(lifted=False).described() == {**told, "noise": noise, "lift": "none"}


def test_mistakes(zero123, views, small_denoiser):
    with pytest.raises(ValueError, match="needs a reference"):
        zero123().condition([""], views(1).camera, None)
    with pytest.raises(ValueError, match="image_channels: must be 16"):
        type(zero123())(
            schedule=zero123().schedule,
            size=16,
            denoiser=small_denoiser(3, None),
            prediction="v",
            pose=zero123().pose,
            lift=None,
            dropout=0.05,
            weights=None,
        )
