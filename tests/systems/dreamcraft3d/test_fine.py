"""The fine stage: it begins where the coarse one ended, and its surface moves."""

from types import SimpleNamespace

import pytest
import torch
from trainers import quiet

from threestudio_like.data.stream import endless

OFF = ("guidance.image.prior.weights=null", "guidance.view.prior.weights=null")


def test_it_begins_from_the_coarse_surface(built, ball, fitted):
    coarse = built("coarse", *OFF, "scene.geometry.sphere_radius=0.33")
    fine = built("fine", *OFF, "scene.geometry.resolution=24")
    fine.begin_from(coarse.scene)
    camera = ball(0).camera
    coarse.eval()
    with torch.no_grad():
        volume, mesh = coarse.show(camera, 10**6), fine.show(camera, 0)
    assert fitted.overlap(mesh.alpha, volume.alpha) > 0.95
    inside = (mesh.alpha > 0.99) & (volume.alpha > 0.9)
    assert (mesh.rgb - volume.rgb).abs()[inside.expand_as(mesh.rgb)].mean() < 0.06


def test_a_subdivided_stage_is_trained_and_goes_on_from_its_state(built, ball, fitted):
    sizes = ("scene.geometry.resolution=10", "scene.geometry.subdivisions=1")
    before, first, again = (built("fine", *OFF, *sizes[:count]) for count in (1, 2, 2))
    first.begin_from(before.scene)
    fitted(first, ball, 2)
    assert first.scene.geometry.distance.grad.abs().sum() > 0
    again.begin_from(before.scene)
    again.load_state_dict(first.state_dict())
    optimizer = again.configure_optimizers()
    ours, theirs = again.scene.geometry, first.scene.geometry
    assert any(ours.distance is parameter for parameter in optimizer.param_groups[0]["params"])
    for name in ("vertices", "faces"):
        assert torch.equal(getattr(ours.mesh(), name), getattr(theirs.mesh(), name))


@pytest.mark.parametrize(
    "stop", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_cut_while_it_trains_it_ends_alike_where_it_was_stopped(built, ball, tmp_path, stop):
    """Before, at and after the step that cuts."""
    settings = ("scene.geometry.resolution=8", "strategy.at=[2]", "draw_every=1000")

    def trained(until: int, checkpoint: str | None):
        torch.manual_seed(0)
        fine = built("fine", *OFF, *settings)
        for name in ("image", "view"):
            fine.weights[name] = lambda step: 0.0
        trainer = quiet(tmp_path, until)
        begin = 0 if checkpoint is None else torch.load(checkpoint, weights_only=True)["global_step"]
        alone = {"accumulate_grad_batches": 1, "world_size": 1, "global_rank": 0}
        clock = SimpleNamespace(global_step=begin, **alone)
        batches = endless(lambda step, _: ball(step, side=24), clock)
        trainer.fit(fine, batches, ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{until}.ckpt")
        return fine

    whole = trained(4, None)
    assert whole.scene.geometry.level == 1
    assert trained(stop, None).scene.geometry.level == (stop >= 2)
    again = trained(4, str(tmp_path / f"{stop}.ckpt"))
    assert again.scene.geometry.level == 1
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_normals_take_the_colours_place_when_shape_is_due(built, ball):
    fine = built("fine", *OFF, "scene.geometry.resolution=12", "weights.shape=1.0")
    losses = fine.compute(ball(0))
    assert {"image", "shape", "view", "normal_consistency"} <= set(losses)
    assert losses["image"].item() != losses["shape"].item()


def test_the_sign_change_regulariser_removes_a_speck(built, ball):
    """Out of every camera's sight, in the far corner of the box."""
    fine = built("fine", *OFF, "scene.geometry.resolution=16", "weights.sign_change=1.0")
    grid = fine.scene.geometry
    speck = (grid.vertices() - 0.5).norm(dim=-1).argmin()
    with torch.no_grad():
        grid.distance[speck] = -0.05
    losses = fine.regularised(grid.mesh(), 0)
    assert set(losses) == {"normal_consistency", "sign_change"}
    losses["sign_change"].backward()
    assert grid.distance.grad[speck] < 0 < grid.distance.grad.abs().max()  # rises as the loss falls
    assert grid.distance.grad[speck] == grid.distance.grad.min()


def test_the_silhouette_approaches_the_picture(built, ball, fitted):
    faster = "optimization.learning_rates={scene.geometry:0.02}"
    fine = built("fine", *OFF, "scene.geometry.resolution=16", "scene.geometry.sphere_radius=0.4", faster)
    for name in ("image", "view"):
        fine.weights[name] = lambda step: 0.0
    camera, mask = ball(0).reference.camera, ball(0).reference.alpha
    before = fitted.overlap(fine.show(camera, 0).alpha, mask)
    fitted(fine, ball, 25)
    assert before < 0.6 < 0.75 < fitted.overlap(fine.show(camera, 0).alpha, mask)
