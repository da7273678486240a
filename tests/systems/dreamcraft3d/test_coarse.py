"""The coarse stage: what is due when, that the picture is met, and that the priors reach the geometry."""

import torch

OFF = ("guidance.image.prior.weights=null", "guidance.view.prior.weights=null")
LATTICE = ("renderer.lattice=24", "renderer.num_coarse=24", "renderer.num_fine=12")


def test_even_steps_look_at_the_picture_and_odd_ones_ask_the_priors(built, ball):
    system = built("coarse", *OFF, *LATTICE)
    even, odd = set(system.compute(ball(0))), set(system.compute(ball(1)))
    assert {"rgb", "mask"} <= even and not even & {"image", "view"}
    assert {"image", "view"} <= odd and not odd & {"rgb", "mask"}
    assert "depth" not in even  # this picture comes without


def test_a_depth_that_comes_with_the_picture_is_compared(built, ball):
    system = built("coarse", *OFF, *LATTICE)
    batch = ball(0)
    batch = batch._replace(reference=batch.reference._replace(depth=torch.rand(1, 32, 32, 1)))
    assert 0 < system.compute(batch)["depth"].item() <= 2


def test_without_guidance_the_silhouette_and_colour_approach_the_pictures(built, ball, fitted):
    faster = "optimization.learning_rates={scene.geometry:0.005}"
    system = built("coarse", *OFF, *LATTICE, "scene.geometry.sphere_radius=0.45", faster)
    for name in ("image", "view"):
        system.weights[name] = lambda step: 0.0
    mask = ball(0).reference.alpha
    system.eval()
    with torch.no_grad():
        before = system.show(ball(0).reference.camera, 10**6)
        fitted(system, lambda step: ball(2 * step, side=16), 30)
        system.eval()
        after = system.show(ball(0).reference.camera, 10**6)
    assert fitted.overlap(before.alpha, mask) < 0.6 < 0.75 < fitted.overlap(after.alpha, mask)
    was, now = (render.rgb[mask[..., 0] > 0].mean(0) for render in (before, after))
    assert now[0] > was[0] + 0.03 and now[1] < was[1] - 0.03  # redder, less green


def test_both_priors_move_the_geometry(built, ball):
    for name in ("image", "view"):
        system = built("coarse", *OFF, *LATTICE)
        losses = system.compute(ball(1))
        losses[name].backward()
        moved = system.scene.geometry.encoding.table.grad
        assert moved is not None and torch.isfinite(moved).all() and moved.abs().max() > 0


def test_priors_are_neither_trained_nor_saved(built):
    system = built("coarse", *OFF, *LATTICE)
    assert not any(name.startswith("guidance") for name in system.state_dict())
    system.configure_optimizers()  # would refuse parameters that no learning rate fits


def test_published_networks_move_the_surface(paper, ball):
    """One whole step of the paper's experiment, with random weights in the published layouts."""
    system = paper("coarse", ("image", "view"), *LATTICE)
    batch = ball(1)
    losses = system.compute(batch)
    assert {"image", "view"} <= set(losses)
    for name in ("image", "view"):
        system.zero_grad()
        losses[name].backward(retain_graph=True)
        gradients = [value.grad for value in system.scene.parameters() if value.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients), name
        assert sum(gradient.abs().sum() for gradient in gradients) > 0, name
    names = [name for name, _ in system.named_parameters()]
    assert not any("prior" in name for name in names)  # they are neither trained nor saved
