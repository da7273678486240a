"""Density control: what is copied, split, pruned and faded, and that the optimiser follows."""

import functools
import math
from typing import NamedTuple

import pytest
import torch
from pytorch_lightning import Trainer

from systems.base import Optimization, System
from threestudio_like.background.solid import Solid
from threestudio_like.geometry.densify import Densify, fade, select
from threestudio_like.geometry.gaussians import Gaussians
from threestudio_like.material.direct import Direct
from threestudio_like.ops.camera import orbit
from threestudio_like.ops.splat import rotation_matrices
from threestudio_like.records import Footprints, Render
from threestudio_like.renderer.splats import Splats
from threestudio_like.scene import Scene

SMALL, LARGE, HUGE = 0.01, 0.05, 0.5


def strategy(**changes):
    settings = {"begin": 0, "until": 1000, "every": 1, "gradient": 1.0, "extent": 1.0, "dense": 0.02}
    settings |= {"huge": 0.1, "shrink": 1.6, "min_opacity": 0.005, "reset_every": 500, "reset_opacity": 0.01}
    return Densify(**settings | {"limit": None} | changes)


def trained(scales, opacity=0.5):
    """A scene of round Gaussians, and an Adam that has taken a step."""
    torch.manual_seed(0)
    geometry = Gaussians(
        radius=1.0,
        num_features=3,
        degree=1,
        count=len(scales),
        ball=0.5,
        opacity=opacity,
        level=1.0,
        min_component=0.0,
    )
    with torch.no_grad():
        geometry.log_scales.copy_(torch.tensor(scales).log()[:, None].expand(-1, 3))
        geometry.quaternions.copy_(torch.randn(len(scales), 4))
    groups = [{"params": [p], "lr": 1e-9, "name": name} for name, p in geometry.named_parameters()]
    optimizer = torch.optim.Adam(groups)
    sum(((p + 0.1) ** 2).sum() for p in geometry.parameters()).backward()
    optimizer.step()
    return Scene(geometry=geometry, material=torch.nn.Identity(), background=torch.nn.Identity()), optimizer


def pulled(gradients, seen=None, height=2, width=2):
    """A render whose projected means have these gradients' norms (in units of half the sides)."""
    count = len(gradients[0])
    centers = torch.zeros(len(gradients), count, 2, requires_grad=True)
    along = torch.tensor([0.6 / (0.5 * width), 0.8 / (0.5 * height)]) / len(gradients)
    centers.grad = torch.tensor(gradients)[..., None] * along
    spreads = torch.ones(len(gradients), count, 2)
    if seen is not None:
        spreads = spreads * torch.tensor(seen).view(len(gradients), count, 1)
    prints = Footprints(centers, torch.zeros(len(gradients), count, 3), torch.ones(1, count), spreads)
    picture = torch.zeros(len(gradients), height, width, 3)
    return Render(picture, picture[..., :1], picture[..., :1], picture, footprints=prints)


def check_state(geometry, optimizer):
    """Every parameter is the optimiser's, once, with moments of its own shape."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in parameters] == [id(p) for p in geometry.parameters()]
    assert set(optimizer.state) == set(parameters)
    for parameter in parameters:
        state = optimizer.state[parameter]
        assert state["exp_avg"].shape == state["exp_avg_sq"].shape == parameter.shape
        assert state["step"] == 1


def test_selecting_moves_parameters_and_moments_alike():
    scene, optimizer = trained([SMALL] * 4)
    geometry = scene.geometry
    before = {name: p.detach().clone() for name, p in geometry.named_parameters()}
    moments = {name: optimizer.state[p]["exp_avg"].clone() for name, p in geometry.named_parameters()}
    source, fresh = torch.tensor([3, 1, 1]), torch.tensor([False, False, True])
    select(geometry, optimizer, source, fresh)
    check_state(geometry, optimizer)
    for name, parameter in geometry.named_parameters():
        assert torch.equal(parameter, before[name][source])
        moment = optimizer.state[parameter]["exp_avg"]
        assert torch.equal(moment[:2], moments[name][[3, 1]]) and moment[2].eq(0).all()


def test_small_ones_are_copied_and_large_ones_split():
    scene, optimizer = trained([SMALL, LARGE, SMALL, LARGE])
    before = scene.geometry.means.detach().clone()
    quaternions = scene.geometry.quaternions.detach().clone()
    strategy().after_step(scene, pulled([[2.0, 2.0, 0.5, 0.5]]), optimizer, 0)
    geometry = scene.geometry
    check_state(geometry, optimizer)
    assert geometry.count == 6  # small, small 2, large 2, its copy, two halves
    assert torch.equal(geometry.means[:4], before[[0, 2, 3, 0]])
    sizes = torch.tensor([SMALL, SMALL, LARGE, SMALL, LARGE / 1.6, LARGE / 1.6])
    torch.testing.assert_close(geometry.log_scales.exp()[:, 0], sizes)
    assert torch.equal(geometry.quaternions[4:], quaternions[[1, 1]])
    away = (geometry.means[4:] - before[1]).norm(dim=-1)
    assert (away > 0).all() and (away < 5 * LARGE).all()
    for parameter in geometry.parameters():
        moments = optimizer.state[parameter]["exp_avg"]
        assert moments[3:].eq(0).all() and (parameter.numel() == 0 or moments[:3].ne(0).any())


def test_halves_are_drawn_from_the_parent():
    """Their places have its mean and covariance."""
    scene, optimizer = trained([LARGE] * 3000)
    with torch.no_grad():
        scene.geometry.means.fill_(0.25)
        scene.geometry.log_scales.copy_(torch.tensor([0.03, 0.06, 0.09]).log().expand(3000, 3))
        scene.geometry.quaternions.copy_(torch.tensor([0.9, 0.1, -0.3, 0.2]).expand(3000, 4))
    strategy(huge=1.0).after_step(scene, pulled([[2.0] * 3000]), optimizer, 0)
    places = scene.geometry.means.detach()
    assert len(places) == 6000
    axes = rotation_matrices(torch.tensor([0.9, 0.1, -0.3, 0.2])) * torch.tensor([0.03, 0.06, 0.09])
    torch.testing.assert_close(places.mean(0), torch.full((3,), 0.25), atol=3e-3, rtol=0)
    torch.testing.assert_close(places.T.cov(), axes @ axes.T, atol=3e-4, rtol=0)


def test_the_gradient_is_a_mean_over_the_pictures_that_show_it():
    """Steps and pictures count alike; height and width have their own units."""
    scene, optimizer = trained([SMALL] * 3)
    density = strategy(every=2)
    density.after_step(scene, pulled([[3.0, 3.0, 0.9]], [1.0, 1.0, 1.0], 8, 16), optimizer, 0)
    density.after_step(scene, pulled([[3.0, 0.0, 0.9]], [0.0, 1.0, 1.0], 8, 16), optimizer, 1)
    assert scene.geometry.count == 5  # 3 and 1.5 are enough, .9 is not
    density = strategy(every=1, gradient=1.0)
    scene, optimizer = trained([SMALL] * 3)
    density.after_step(scene, pulled([[1.8, 3.0, 1.0], [0.3, 3.0, 0.9]]), optimizer, 0)
    assert scene.geometry.count == 5  # 1.05, 3 and .95


def test_faint_and_huge_ones_go():
    scene, optimizer = trained([SMALL, SMALL, HUGE])
    with torch.no_grad():
        scene.geometry.opacity_logits[0] = math.log(0.004 / 0.996)
    density = strategy(every=1, reset_every=500)
    density.after_step(scene, pulled([[0.0] * 3]), optimizer, 498)
    assert scene.geometry.count == 2  # the huge one stays until opacities have been reset
    density.after_step(scene, pulled([[0.0] * 2]), optimizer, 500)
    assert scene.geometry.count == 1
    check_state(scene.geometry, optimizer)
    with torch.no_grad():
        scene.geometry.opacity_logits.fill_(-9.0)
    with pytest.raises(ValueError, match="no Gaussian"):
        density.after_step(scene, pulled([[0.0]]), optimizer, 501)


def test_opacities_are_reset():
    scene, optimizer = trained([SMALL] * 2, opacity=0.9)
    with torch.no_grad():
        scene.geometry.opacity_logits[1] = math.log(0.006 / 0.994)
    density = strategy(every=700, reset_every=500)
    density.after_step(scene, pulled([[0.0, 0.0]]), optimizer, 499)
    torch.testing.assert_close(scene.geometry.ellipsoids().opacities, torch.tensor([0.01, 0.006]))
    assert optimizer.state[scene.geometry.opacity_logits]["exp_avg_sq"].eq(0).all()
    assert optimizer.state[scene.geometry.means]["exp_avg_sq"].ne(0).any()


def test_fading_before_the_first_step():
    scene, _ = trained([SMALL], opacity=0.9)
    fade(scene.geometry, torch.optim.SGD(scene.geometry.parameters(), lr=1.0), 0.01)
    assert scene.geometry.ellipsoids().opacities.item() == pytest.approx(0.01)


def test_the_limit_is_for_the_largest_gradients():
    scene, optimizer = trained([0.011, 0.012, 0.013, 0.014])
    strategy(limit=6).after_step(scene, pulled([[2.0, 5.0, 3.0, 4.0]]), optimizer, 0)
    sizes = scene.geometry.log_scales.exp()[4:, 0]
    torch.testing.assert_close(sizes, torch.tensor([0.012, 0.014]))
    strategy(limit=3).after_step(scene, pulled([[9.0] * 6]), optimizer, 0)
    assert scene.geometry.count == 6


def test_only_when_it_is_due():
    scene, optimizer = trained([SMALL])
    density = strategy(begin=10, until=30, every=10)
    for step in (0, 8, 9, 18, 29, 39):
        density.after_step(scene, pulled([[9.0]]), optimizer, step)
        assert scene.geometry.count == 1, step
    density.after_step(scene, pulled([[9.0]]), optimizer, 19)
    assert scene.geometry.count == 2


def test_what_it_gathered_is_saved():
    scene, optimizer = trained([SMALL] * 3)
    one, other = strategy(every=100), strategy(every=100)
    one.after_step(scene, pulled([[1.0, 2.0, 3.0]], [1.0, 1.0, 0.0]), optimizer, 0)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.total, torch.tensor([1.0, 2.0, 0.0]))
    assert torch.equal(other.views, torch.tensor([1.0, 1.0, 0.0]))


def test_it_takes_gaussians():
    scene, optimizer = trained([SMALL])
    scene.geometry = torch.nn.Identity()
    with pytest.raises(ValueError, match="takes Gaussians"):
        strategy().after_step(scene, pulled([[1.0]]), optimizer, 0)


class Fitting(System):
    """Gaussians to one flat colour, doubled on the way."""

    losses = ("rgb",)

    def __init__(self):
        torch.manual_seed(0)
        optimizer = functools.partial(torch.optim.Adam, eps=1e-15)
        rates = {"scene": 0.01, "scene.geometry.opacity_logits": 0.05}
        super().__init__(
            seed=3, weights={"rgb": 1.0}, optimization=Optimization(optimizer, rates), draw_every=10**6
        )
        geometry = trained([LARGE] * 30)[0].geometry
        self.scene = Scene(geometry=geometry, material=Direct(), background=Solid(rgb=[1.0, 1.0, 1.0]))
        self.renderer = Splats(near=0.2, degree_every=3)
        self.density = strategy(begin=1, every=4, gradient=8e-5, reset_every=9, limit=None)
        self.seen: list[Render] = []

    def compute(self, batch):
        angle = torch.tensor([float(batch.step)])
        lens = {"elevation": 0.1 * angle, "distance": angle * 0 + 2, "fov_y": angle * 0 + 1}
        camera = orbit(azimuth=angle, **lens, height=16, width=16)
        self.seen = [self.renderer(self.scene, camera, batch.step)]
        return {"rgb": (self.seen[0].rgb - torch.tensor([0.1, 0.5, 0.9])).abs().mean()}

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.density.after_step(self.scene, self.seen[0], optimizer, self.trainer.global_step - 1)

    def pictures(self, batch):
        return {}


class Steps(torch.utils.data.IterableDataset):
    def __init__(self, first):
        self.first = first

    def __iter__(self):
        return map(Step, range(self.first, 100))


class Step(NamedTuple):
    step: int


@pytest.mark.filterwarnings("ignore:.*tensorboard", "ignore:.*does not have many workers")
def test_a_resumed_run_ends_in_the_same_bits(tmp_path):
    """Stopped between two refinements, with more Gaussians than at first, and a reset behind it."""

    def run(last, first=0, **settings):
        system = Fitting()
        loader = torch.utils.data.DataLoader(Steps(first), batch_size=None)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        quiet |= {"enable_checkpointing": False, "barebones": False, "accelerator": "cpu"}
        trainer = Trainer(max_steps=last, default_root_dir=tmp_path, **quiet)
        trainer.fit(system, loader, weights_only=True, **settings)
        return system, trainer

    whole, whole_trainer = run(16)
    _, stopped = run(11)
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed, resumed_trainer = run(16, 11, ckpt_path=str(tmp_path / "stopped.ckpt"))
    assert whole.scene.geometry.count != 30
    expected, found = whole.state_dict(), resumed.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    one, other = (trainer.optimizers[0].state_dict()["state"] for trainer in (whole_trainer, resumed_trainer))
    for number, state in one.items():
        assert state["exp_avg"].shape[0] == whole.scene.geometry.count
        assert all(torch.equal(state[key], other[number][key]) for key in state)
