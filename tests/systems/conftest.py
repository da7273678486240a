"""Systems as their YAML wires them, at sizes that take seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from threestudio_like.data.cameras import Pose
from threestudio_like.ops.camera import orbit
from threestudio_like.records import Batch, Example, View

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {"num_levels": 4, "log2_table": 10, "base_resolution": 4, "finest_resolution": 32}


@pytest.fixture
def built():
    """(stage, overrides of its system) -> the system of the small experiment, with untrained priors.

    experiment: another one of dreamcraft3d's; groups: other parts for its slots.
    """

    def build(stage: str, *overrides: str, experiment: str = "small", groups: Sequence[str] = ()):
        GlobalHydra.instance().clear()
        key = f"stages.{stage}.system"
        small = [f"{key}.scene.geometry.encoding.{name}={value}" for name, value in SMALL.items()]
        common = [f"experiment=dreamcraft3d/{experiment}", "image=none.png", "prompt=a ball"]
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            own = [f"{key}.{override}" for override in overrides]
            config = hydra.compose("config", [*common, *groups, *small, *own])
            node = hydra.utils.instantiate(config.stages[stage].system, _convert_="all")
        GlobalHydra.instance().clear()
        torch.manual_seed(0)
        return node

    return build


@pytest.fixture
def composed():
    """(name, overrides) -> an experiment of dreamcraft3d, as it stands."""

    def compose(name: str, *overrides: str):
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose("config", [f"experiment=dreamcraft3d/{name}", *overrides])
        GlobalHydra.instance().clear()
        return config

    return compose


@pytest.fixture
def ball():
    """(step, radius) -> a batch whose reference picture is a red disc as a ball of this radius would show."""

    def batch(step: int, radius: float = 0.3, side: int = 32) -> Batch:
        pose = Pose(0.0, 0.0, 1.6, 49.134)
        camera = pose.camera(side)
        reach = torch.linspace(-1, 1, side) * 1.6 * torch.tan(camera.fov_y / 2)
        y, x = torch.meshgrid(reach, reach, indexing="ij")
        seen = radius / (1 - radius**2 / 1.6**2) ** 0.5  # a sphere's outline is a little larger than itself
        alpha = (x**2 + y**2 < seen**2).float()[None, ..., None]
        red = torch.tensor([0.9, 0.1, 0.1]).expand(1, side, side, 3)
        return Batch(step, Pose(120.0, 20.0, 1.6, 49.134).camera(side), View(camera, red, alpha))

    return batch


def overlap(alpha: torch.Tensor, mask: torch.Tensor) -> float:
    """Intersection over union of two silhouettes."""
    a, b = alpha > 0.5, mask > 0.5
    return ((a & b).sum() / (a | b).sum()).item()


@pytest.fixture
def fitted():
    """Train a system by hand for some steps on batches that a function of the step gives."""

    def fit(system, batches, steps: int) -> list[dict]:
        optimizer, seen = system.configure_optimizers(), []
        system.train()
        for step in range(steps):
            batch = batches(step)
            torch.manual_seed(step)
            with torch.enable_grad():
                losses = system.compute(batch)
                total = sum(system.weights[name](batch.step) * loss for name, loss in losses.items())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            seen.append({name: loss.item() for name, loss in losses.items()})
        return seen

    fit.overlap = overlap
    return fit


PLANE = "priors@system.prior=toy"  # small as it is
SMALL_PRIOR = ["size=16", "denoiser.widths=[16,16]", "denoiser.groups=8", "denoiser.head_channels=8"]
SMALL_LIFT = {"width": 8, "groups": 4, "features": 4, "depths": 4, "samples": 4, "hidden": 8}


@pytest.fixture
def small_system():
    """(name, overrides, groups) -> a system that trains a denoiser, as its YAML wires it but for sizes.

    overrides: of the system's values; groups: other parts for its slots.
    """

    def build(name: str, *overrides: str, groups: Sequence[str] = ()):
        small = [] if PLANE in groups else [f"prior.{setting}" for setting in SMALL_PRIOR]
        if name == "zero123":
            small.append("prior.pose.out_channels=64")
            if "prior.lift=null" not in overrides:
                absent = ("samples", "hidden") if "priors@system.prior.lift=flat" in groups else ()
                kept = {key: value for key, value in SMALL_LIFT.items() if key not in absent}
                small += [f"prior.lift.{key}={value}" for key, value in kept.items()]
                small.append("prior.lift.vector_channels=64")
        if name == "instructpix2pix":
            small.append("prior.begin=null")
        settings = [f"system.{setting}" for setting in (*small, *overrides, "evaluation.steps=3")]
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose(overrides=["+seed=0", f"+systems@system={name}", *groups, *settings])
            torch.manual_seed(0)
            node = hydra.utils.instantiate(config.system, _convert_="all")
        GlobalHydra.instance().clear()
        return node

    return build


@pytest.fixture
def examples():
    """count -> as many batches of four pairs of random pictures."""

    def view(generator: torch.Generator) -> View:
        random = torch.rand(3, 4, generator=generator)
        camera = orbit(
            azimuth=6 * random[0],
            elevation=random[1],
            distance=1.4 + 0.5 * random[2],
            fov_y=torch.full((4,), 0.857),
            height=16,
            width=16,
        )
        pixels = torch.rand(4, 16, 16, 4, generator=generator)
        return View(camera, pixels[..., :3], pixels[..., 3:])

    def make(count: int) -> list[Example]:
        generator = torch.Generator().manual_seed(0)
        prompts = ["cup", "chair", "lamp", "tree"]
        return [Example(step, prompts, view(generator), view(generator)) for step in range(count)]

    return make


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random networks of the published architectures, in the published layouts."""
    import layouts

    folder = tmp_path_factory.mktemp("weights")
    return {
        "image": layouts.deepfloyd_folder(folder / "if"),
        "view": layouts.zero123_file(folder / "stable_zero123.ckpt"),
        "texture": layouts.stable_diffusion_folder(folder / "sd"),
    }


@pytest.fixture
def paper(weights, tmp_path):
    """(stage, slots, overrides, other priors) -> the system of the paper experiment, its priors narrow and in
    float32; other priors are their slots, options and weights."""

    def build(stage: str, slots: Sequence[str], *overrides: str, others: Mapping[str, tuple[str, Path]] = {}):
        key = f"stages.{stage}.system"
        small = [f"{key}.scene.geometry.encoding.{name}={value}" for name, value in SMALL.items()]
        for slot in slots:
            prior = f"{key}.guidance.{slot}.prior"
            option, file = others.get(slot, ("deepfloyd" if slot == "image" else "", weights[slot]))
            small += [f"{prior}.weights={file}", f"{prior}.precision=float32"]
            small += [f"{prior}.size=16"] if option != "deepfloyd" else [f"{prior}.text_encoder=whole"]
            small += [f"{prior}.cache={tmp_path}"] if slot != "view" else []
            if slot in others:
                small.append(f"priors@{prior}={option}")
            if slot in others and slot != "view":  # Perp-Neg is not for all of them
                small += [f"priors@{prior}.words=words", f"guidance@{key}.guidance.{slot}.cfg=cfg"]
        words = ["experiment=dreamcraft3d/paper", "image=none.png", "prompt=a ball", *small]
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose("config", [*words, *(f"{key}.{override}" for override in overrides)])
            torch.manual_seed(0)
            node = hydra.utils.instantiate(config.stages[stage].system, _convert_="all")
        GlobalHydra.instance().clear()
        return node

    return build
