"""The coarse stage: what is due when, that the picture is met, and that the priors reach the geometry."""

import layouts
import pytest
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
    system = built("coarse", *OFF, *LATTICE, "weights.depth.value=0.05")
    batch = ball(0)
    batch = batch._replace(reference=batch.reference._replace(depth=torch.rand(1, 32, 32, 1)))
    assert 0 < system.compute(batch)["depth"].item() <= 2


@pytest.mark.parametrize(
    ("stage", "more"), [("coarse", LATTICE), ("fine", ("scene.geometry.resolution=12",))]
)
def test_normals_that_come_with_the_picture_turn_the_surface(built, ball, stage, more):
    """Where they are those of the render nothing is lost; where they point away, the most, and it is felt."""
    weight = "weights.normal.value=1.0" if stage == "coarse" else "weights.normal=1.0"
    system = built(stage, *OFF, *more, weight)
    batch = ball(0)
    seen = system.show(batch.reference.camera, 0)
    losses = []
    for sign in (1, -1):
        reference = batch.reference._replace(normal=sign * seen.normal.detach())
        losses.append(system.compute(batch._replace(reference=reference))["normal"])
    assert losses[0].item() < 0.05 < 1.5 < losses[1].item() <= 2.0
    losses[1].backward()
    assert sum(value.grad.abs().sum() for value in system.scene.parameters() if value.grad is not None) > 0


def test_the_published_weights_are_the_official_ones(composed):
    """2-D and 3-D alike, and a depth to compare with; the small ones have mu = 2 and none."""
    stages = composed("paper").stages
    coarse, fine = (stages[name].system.weights for name in ("coarse", "fine"))
    assert coarse.image.value == coarse.view.value == fine.image.value == fine.shape.value == fine.view == 0.1
    assert coarse.depth.value == 0.05 and stages.coarse.data.cues.weights == "cues"
    for name, value in (("full", 0.2), ("small", 0.6)):
        stages = composed(name).stages
        weights = stages.coarse.system.weights
        assert weights.view.value == 2 * weights.image.value == value
        assert weights.depth.value == 0 and stages.coarse.data.cues is None


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


FOG = ("renderer.num_steps=64", "renderer.resolution=16", "scene.geometry.bias.radius=0.45")


def test_a_fog_takes_the_first_part_and_the_distances_begin_with_its_surface(built, ball):
    """The official order of stages; every regulariser counts in the fog too."""
    nerf = built("nerf", *OFF, *FOG, experiment="official_stages")
    losses = nerf.compute(ball(0)) | nerf.compute(ball(1))
    smooth = {"normal_smooth", "solid_smooth"}
    assert set(losses) == {"rgb", "mask", "image", "view", "orient", "sparsity", "opaque"} | smooth
    sum(losses.values()).backward()
    assert nerf.scene.geometry.thickness.layers[0].weight.grad.abs().max() > 0
    nerf.configure_optimizers()
    neus = built("coarse", *OFF, *LATTICE, experiment="official_stages")
    neus.begin_from(nerf.scene)
    assert neus.measure(None)["handover_iou"] > 0.97
    levels = neus.guidance["view"].levels
    assert levels.low(0) == levels.low(500) == 0.6 and levels.high(0) == 0.95  # where the fog's have ended


@pytest.mark.parametrize("size", ["full", "paper"])
def test_the_official_order_has_the_official_values_at_every_size(composed, size):
    """What fell or opened in the first stage stays where it ended; all else is that size's own."""
    ordered, plain = composed(f"{size}_official_stages"), composed(size)
    assert ordered.plan == ["nerf", *plain.plan]
    nerf, neus = ordered.stages.nerf, ordered.stages.coarse
    assert ordered.stages.fine == plain.stages.fine and ordered.stages.texture == plain.stages.texture
    assert neus.system.renderer == plain.stages.coarse.system.renderer
    for name in ("image", "view"):
        first, then = (stage.system.guidance[name].levels for stage in (nerf, neus))
        assert (first.low.start, first.low.end, first.low.until) == (0.7, 0.2, 200)
        assert (first.high.start, first.high.end) == (0.85, 0.5)
        assert then.low.start == then.low.end == 0.2 and then.high.start == then.high.end == 0.5
        assert nerf.system.guidance[name].prior == neus.system.guidance[name].prior
        assert nerf.system.guidance[name].cfg == neus.system.guidance[name].cfg
        assert nerf.system.weights[name] == neus.system.weights[name]
    assert nerf.system.weights.depth == neus.system.weights.depth and nerf.data.cues == neus.data.cues
    assert nerf.data.cameras.progressive_until == 200 and neus.data.cameras.progressive_until == 0
    assert nerf.data.resolution.then == [[3000, 384]]
    opened = nerf.system.scene.geometry.encoding.opened
    assert (opened.value, opened.then[0], opened.then[4]) == (8, [2500, 9], [4500, 13])
    assert neus.system.scene.geometry.encoding.opened is None
    assert nerf.trainer.max_steps == neus.trainer.max_steps == 5000
    assert nerf.trainer.accelerator == neus.trainer.accelerator
    assert nerf.trainer.precision == neus.trainer.precision


def test_solid_smoothness_straightens_normals_of_distances(built, ball):
    neus = built("coarse", *OFF, *LATTICE)
    geometry, camera = neus.scene.geometry, ball(1).camera
    with torch.no_grad():
        geometry.encoding.table.uniform_(-0.05, 0.05)
        geometry.distance.layers[-1].weight.normal_(std=0.3)
    optimizer, losses = torch.optim.Adam([geometry.encoding.table], lr=0.01), []
    for _ in range(8):
        samples = neus.show(camera, 0).samples
        assert samples is not None
        losses.append(neus.solid_smoothness(samples))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_a_fog_has_no_distances_to_be_even(built, ball):
    nerf = built("nerf", *OFF, *FOG, "weights.eikonal=1.0", experiment="official_stages")
    with pytest.raises(ValueError, match="weights.eikonal: a fog has no distances"):
        nerf.compute(ball(0))


def test_priors_are_neither_trained_nor_saved(built):
    system = built("coarse", *OFF, *LATTICE)
    assert not any(name.startswith("guidance") for name in system.state_dict())
    system.configure_optimizers()  # would refuse parameters that no learning rate fits


def test_published_networks_move_the_surface(paper, ball):
    """One whole step of the paper's experiment, with random weights in the published layouts."""
    system = paper("coarse", ("image", "view"), *LATTICE)
    check_moves(system, ball(1), ("image", "view"))
    names = [name for name, _ in system.named_parameters()]
    assert not any("prior" in name for name in names)  # they are neither trained nor saved


def check_moves(system, batch, names):
    """Each of these losses has a finite gradient that is not nothing, of the scene."""
    losses = system.compute(batch)
    assert set(names) <= set(losses)
    for name in names:
        system.zero_grad()
        losses[name].backward(retain_graph=True)
        gradients = [value.grad for value in system.scene.parameters() if value.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients), name
        assert sum(gradient.abs().sum() for gradient in gradients) > 0, name


@pytest.mark.parametrize(
    ("slot", "option", "made"),
    [
        ("image", "stable_diffusion", lambda place: layouts.stable_diffusion_folder(place)),
        ("image", "stable_diffusion_15", lambda place: layouts.stable_diffusion_folder(place)),
        ("image", "stable_diffusion_xl", lambda place: layouts.xl_folder(place)),
        ("image", "stable_diffusion_3", lambda place: layouts.stable_diffusion_3_folder(place)),
        ("view", "zero123_xl", lambda place: layouts.zero123_file(place / "xl.safetensors")),
        ("view", "zero123_xl", lambda place: layouts.zero123_folder(place)),
        ("view", "stable_zero123", lambda place: layouts.zero123_folder(place, "clip_camera_projection")),
    ],
)
def test_so_do_the_other_published_families(paper, ball, tmp_path, slot, option, made):
    place = tmp_path / "weights"
    place.mkdir()
    off = "weights.image=0" if slot == "view" else "weights.view=0"
    system = paper("coarse", ("image", "view"), *LATTICE, off, others={slot: (option, made(place))})
    check_moves(system, ball(1), (slot,))
