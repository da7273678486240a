"""Where the time of one training step goes: NeuS and DMTet of the small DreamCraft3D, and Gaussians."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import torch
from splat import COUNT, camera
from torch.autograd.profiler import record_function

from threestudio_like.ops import dispatch
from threestudio_like.ops.camera import resized
from threestudio_like.records import Batch, View

CONFIGS = Path(__file__).parents[2] / "configs"
WARM, STEPS = 3, 4  # steps left out, steps looked at: as many with as without guidance
SHOWN = 12
Step = Callable[[int], None]


def composed(*overrides: str) -> Any:
    """The configuration, with nothing built."""
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("config", list(overrides))


def stage(name: str) -> Step:
    """A step of DreamCraft3D's small experiment, on a ball's outline, with its bundled priors."""
    config = composed("experiment=dreamcraft3d/small", "image=none.png", "prompt=a ball").stages[name]
    torch.manual_seed(0)
    system = hydra.utils.instantiate(config.system, _convert_="all").train()
    optimizer = system.configure_optimizers()
    side, random_side = config.data.resolution.value, config.data.cameras.resolution.value
    seen = camera(side)._replace(fov_y=torch.tensor([math.radians(49.134)]))
    reach = torch.linspace(-1, 1, side)
    alpha = (reach[:, None] ** 2 + reach**2 < 0.5).float()[None, ..., None]
    picture = View(seen, torch.full((1, side, side, 3), 0.5), alpha)

    def step(number: int) -> None:
        batch = Batch(number, resized(seen, random_side, random_side), picture)
        losses = system.compute(batch)
        optimizer.zero_grad()
        torch.stack([system.weights[key](number) * loss for key, loss in losses.items()]).sum().backward()
        optimizer.step()

    return step


def splats() -> Step:
    """A step of Gaussians on one picture: rendered, compared, moved."""
    parts = ["+geometry@geometry=gaussians", "+renderer@renderer=splats", "+material@material=direct"]
    sizes = [f"geometry.count={COUNT}", "geometry.radius=1.0", "geometry.ball=1.0"]
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose(overrides=[*parts, "+background@background=solid", *sizes])
    torch.manual_seed(0)
    built = hydra.utils.instantiate(config, _convert_="all")
    from threestudio_like.scene import Scene

    scene = Scene(geometry=built["geometry"], material=built["material"], background=built["background"])
    optimizer = torch.optim.Adam(scene.parameters(), 1e-3)
    seen, target = camera(256), torch.rand(1, 256, 256, 3)

    def step(number: int) -> None:
        optimizer.zero_grad()
        (built["renderer"](scene, seen, number).rgb - target).square().mean().backward()
        optimizer.step()

    return step


def named(load: Callable[[str, str], Callable]) -> Callable[[str, str], Callable]:
    """Backends' kernels are no ops of torch: tell its profiler when they run."""

    def loaded(name: str, backend: str) -> Callable:
        kernel = load(name, backend)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            with record_function(f"{name} (ours)"):
                return kernel(*args, **kwargs)

        return recorded

    return loaded


def shares(step: Step) -> tuple[float, Counter[str]]:
    """Milliseconds of a step, and of what is in it by name; what no op accounts for is Python."""
    for number in range(WARM):
        step(number)
    start = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for number in range(STEPS):
            step(WARM + number)
        took = 1000 * (time.perf_counter() - start) / STEPS
    found: Counter[str] = Counter()
    for event in profile.key_averages():
        name = event.key.removeprefix("autograd::engine::evaluate_function: ").removeprefix("aten::")
        found[name] += event.self_cpu_time_total / 1000 / STEPS
    found["Python, and what is not recorded"] = max(0.0, took - found.total())
    return took, found


def report() -> str:
    """A table for each kind of step."""
    dispatch._load = named(dispatch._load)  # type: ignore[assignment]
    kinds = {"NeuS": lambda: stage("coarse"), "DMTet": lambda: stage("fine"), f"{COUNT} Gaussians": splats}
    parts = []
    for kind, made in kinds.items():
        took, found = shares(made())
        lines = [f"| a step of {kind}: {took:.1f} ms | ms | share |", "| --- | ---: | ---: |"]
        top = found.most_common(SHOWN)
        lines += [f"| {name} | {spent:.2f} | {spent / took:.1%} |" for name, spent in top]
        rest = found.total() - sum(spent for _, spent in top)
        parts.append(
            "\n".join([*lines, f"| {len(found) - len(top)} others | {rest:.2f} | {rest / took:.1%} |"])
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(report())
