"""Several processes, and gradients that are added up, do what one process does with the whole batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
import safetensors.torch
import torch
from hydra.core.global_hydra import GlobalHydra
from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from systems.base import Optimization, System, mixed
from tests.guidance.conftest import Gaussian
from threestudio_like.data.cameras import Cameras, Pose
from threestudio_like.data.stream import endless
from threestudio_like.fields.mlp import MLP
from threestudio_like.guidance import sds
from threestudio_like.guidance.base import Noised, noised
from threestudio_like.guidance.cfg import CFG
from threestudio_like.records import Batch, View
from threestudio_like.run import jobs
from threestudio_like.run.checkpoints import Checkpoints
from threestudio_like.run.guard import Guard
from threestudio_like.schedule.anneal import constant
from threestudio_like.schedule.levels import Uniform

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "run"
STEPS, RATE = 3, 0.05
# forked processes are cheap; python warns of a fork beside threads, and Lightning of few workers
pytestmark = [pytest.mark.filterwarnings("ignore:.*fork"), pytest.mark.filterwarnings("ignore:.*num_workers")]


class Glow(System):
    """Pictures coloured by where the camera is, a linear function, under SDS; `idle` learns at odd steps."""

    losses = ("view", "idle")

    def __init__(self) -> None:
        weights = {"view": 1.0, "idle": 1.0}
        rates = {"colour": RATE, "idle": RATE}
        optimization = Optimization(lambda groups: torch.optim.SGD(groups), rates)
        super().__init__(seed=3, weights=weights, optimization=optimization, draw_every=10**6)
        self.colour, self.idle = nn.Parameter(torch.eye(4)), nn.Parameter(torch.ones(2))
        prior = Gaussian(cond=0.7, null=-0.2, std=0.4)
        cfg, levels = CFG(form="standard", scale=2.0), Uniform(low=0.02, high=0.98)
        parts = {"prior": prior, "cfg": cfg, "levels": levels}
        self.guidance = sds.SDS(weighting="1-alpha_bar", grad_clip=None, **parts)
        self.seen: list[Tensor] = []
        self.found: dict[str, Any] = {}

    def compute(self, batch: Batch) -> dict[str, Tensor]:
        eye = batch.camera.c2w[:, :, 3]
        self.seen.append(eye)
        picture = (eye @ self.colour)[:, None, None].expand(-1, 4, 4, -1)
        view = self.guidance(picture, ["a cup"] * len(eye), batch.camera, None, batch.step)
        return {"view": view, **({"idle": self.idle.square().sum()} if batch.step % 2 else {})}

    def draw(self, batch: Batch) -> None:
        """No pictures."""

    def on_train_end(self) -> None:
        model = self.trainer.strategy.model
        self.found = {
            "colour": self.colour.detach(),
            "idle": self.idle.detach(),
            "seen": torch.stack(self.seen),
            "shared": [*dict(model.named_parameters()), *dict(model.named_buffers())],
            "step": self.trainer.global_step,
        }
        torch.save(self.found, f"{self.trainer.default_root_dir}/rank-{self.global_rank}.pt")


class Around(LightningDataModule):
    """Cameras on a sphere; `together`: those of so many shares as one batch."""

    def __init__(self, together: int = 1) -> None:
        super().__init__()
        ranges = {
            "azimuth": [-180.0, 180.0],
            "elevation": [0.0, 30.0],
            "distance": [0.9, 1.25],
            "fov_y": [40.0, 50.0],
        }
        opening = {"uniform_share": 1.0, "progressive_until": 0, "resolution": constant(value=4.0)}
        self.cameras, self.together = Cameras(batch_size=2, **ranges, **opening), together

    def train_dataloader(self) -> DataLoader:
        return endless(self.batch, self.trainer)

    def batch(self, step: int, share: int) -> Batch:
        start, count = Pose(0.0, 0.0, 1.6, 45.0), self.together
        shares = [self.cameras(0, step, share * count + i, start) for i in range(count)]
        c2w, fov_y = (torch.cat([getattr(one, name) for one in shares]) for name in ("c2w", "fov_y"))
        white = torch.ones(1, 4, 4, 3)
        return Batch(
            step, shares[0]._replace(c2w=c2w, fov_y=fov_y), View(start.camera(4), white, white[..., :1])
        )


def fit(folder: Path, system: System, data: LightningDataModule, **settings: Any) -> list[dict[str, Any]]:
    """What each process found."""
    folder.mkdir()
    plain = {"enable_progress_bar": False, "enable_model_summary": False}
    settings = {"max_steps": STEPS, "accelerator": "cpu", **plain, **settings}
    callbacks = [Guard(patience=1), Checkpoints(every=100)]
    trainer = Trainer(default_root_dir=folder, logger=False, callbacks=callbacks, **settings)
    trainer.fit(system, datamodule=data)
    return [torch.load(file) for file in sorted(folder.glob("rank-*.pt"))]


TWO = {"devices": 2, "strategy": "ddp_fork_find_unused_parameters_true", "use_distributed_sampler": False}


def test_two_processes_or_two_parts_are_the_joint_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = fit(tmp_path / "processes", Glow(), Around(), **TWO)
    (parts,) = fit(tmp_path / "parts", Glow(), Around(), accumulate_grad_batches=2)
    assert [rank["step"] for rank in ranks] == [STEPS, STEPS] == [parts["step"], STEPS]
    seen = torch.stack([rank["seen"] for rank in ranks], dim=1).flatten(0, 1)
    assert torch.equal(seen, parts["seen"]) and len(seen.flatten(0, 1).unique(dim=0)) == 4 * STEPS

    def halves(x: Tensor, levels: Any, step: int, schedule: Any) -> Noised:
        found = []
        for number, half in enumerate(x.chunk(2)):  # each with the noise of its share
            torch.manual_seed(mixed(3, step, number))
            found.append(noised(half, levels, step, schedule))
        return Noised(*map(torch.cat, zip(*found, strict=True)))

    monkeypatch.setattr(sds, "noised", halves)
    (joint,) = fit(tmp_path / "joint", Glow(), Around(together=2))
    assert torch.equal(joint["seen"].flatten(0, 1), seen.flatten(0, 1))
    assert (joint["colour"] - torch.eye(4)).abs().max() > 0.01
    for other in (*ranks, parts):
        torch.testing.assert_close(other["colour"], joint["colour"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other["idle"], joint["idle"], rtol=1e-6, atol=0)
    assert torch.equal(ranks[0]["colour"], ranks[1]["colour"])
    # the frozen prior is neither averaged nor sent around
    assert ranks[0]["shared"] == ["module.colour", "module.idle"]


def toy_stage(*overrides: str) -> Any:
    """A denoiser of points in the plane, and its data."""
    GlobalHydra.instance().clear()
    words = ["experiment=train/smld_toy", "stages.smld.data.batch_size=16", *overrides]
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        stage = hydra.compose("config", words).stages.smld
        torch.manual_seed(0)
        made = [hydra.utils.instantiate(stage[name], _convert_="all") for name in ("system", "data")]
    GlobalHydra.instance().clear()
    return made


def test_a_denoiser_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(System, "draw", lambda *_: None)
    for name, settings in {"one": {}, "processes": TWO, "parts": {"accumulate_grad_batches": 2}}.items():
        fit(tmp_path / name, *toy_stage(), limit_val_batches=0, **settings)
    one, processes, parts = (
        safetensors.torch.load_file(tmp_path / name / "weights.safetensors")
        for name in ("one", "processes", "parts")
    )
    assert any(not torch.allclose(one[key], parts[key], atol=1e-5) for key in one)  # half of the data
    for key, value in parts.items():
        torch.testing.assert_close(processes[key], value, rtol=1e-4, atol=1e-6)


class Coloured(Glow):
    """Its picture is an MLP's of where the camera is, and of a distance, which stays exact."""

    def __init__(self) -> None:
        super().__init__()
        del self.colour
        self.rates["distance"] = RATE
        torch.manual_seed(0)
        common = {"num_inputs": 4, "width": 16, "depth": 1, "activation": "relu", "bias": True, "zero": False}
        self.colour: nn.Module = MLP(num_outputs=4, exact=False, **common)
        self.distance = MLP(num_outputs=1, exact=True, **common)
        self.apart: list[tuple[bool, bool]] = []

    def compute(self, batch: Batch) -> dict[str, Tensor]:
        eye = batch.camera.c2w[:, :, 3]
        rounded = (self.colour(eye) - self.colour.layers(eye)).abs().max() > 0
        exact = torch.equal(self.distance(eye), self.distance.layers(eye))
        self.apart.append((bool(rounded), exact))
        picture = (self.colour(eye) + self.distance(eye))[:, None, None].expand(-1, 4, 4, -1)
        return {"view": self.guidance(picture, ["a cup"] * 2, batch.camera, None, batch.step)}

    def on_train_end(self) -> None:
        torch.save(dict(self.state_dict()), f"{self.trainer.default_root_dir}/rank-0.pt")


def near(half: dict[str, Tensor], whole: dict[str, Tensor]) -> None:
    """Not the same, but learned the same."""
    assert any(not torch.equal(half[name], whole[name]) for name in whole)
    assert all(value.dtype == torch.float32 for value in half.values())
    torch.testing.assert_close(half, whole, rtol=0.05, atol=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_half_precision_learns(tmp_path: Path, precision: str) -> None:
    (half,) = fit(tmp_path / "half", Coloured(), Around(), accelerator="gpu", devices=1, precision=precision)
    (whole,) = fit(tmp_path / "whole", Coloured(), Around(), accelerator="gpu", devices=1)
    near(half, whole)


def test_of_mixed_precision_colours_are_rough_and_distances_exact(tmp_path: Path) -> None:
    mixed, plain = Coloured(), Coloured()
    (half,) = fit(tmp_path / "half", mixed, Around(), precision="bf16-mixed")
    (whole,) = fit(tmp_path / "whole", plain, Around())
    near(half, whole)
    assert set(mixed.apart) == {(True, True)} and set(plain.apart) == {(False, True)}


def free_port() -> int:
    """One that nobody listens at, nor at the next."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def words(outputs: Path, *more: str) -> list[str]:
    """The tiny experiment on two processes."""
    common = ["--config-dir", str(TINY / "configs"), "experiment=tiny", f"outputs={outputs}", "name=a"]
    for stage in ("first", "second"):
        common += [f"trainer@stages.{stage}.trainer=ddp", f"stages.{stage}.trainer.accelerator=cpu"]
        common += [f"stages.{stage}.trainer.devices=2", f"stages.{stage}.trainer.max_steps=9"]
        common += [
            f"stages.{stage}.trainer.{key}"
            for key in ("callbacks.checkpoints.every=4", "log_every_n_steps=3")
        ]
    return [str(ROOT / "launch.py"), *common, *more]


def ran(*commands: list[str], environments: list[dict[str, str]] | None = None, code: int = 0) -> str:
    """All at once; what they said together."""
    surroundings = {**os.environ, "PYTHONPATH": f"{TINY}:{ROOT}", "OMP_NUM_THREADS": "1"}
    surroundings.pop("THREESTUDIO_LIKE_RUN", None)
    processes = [
        subprocess.Popen(
            command, env={**surroundings, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for command, own in zip(commands, environments or [{}] * len(commands), strict=True)
    ]
    said = [process.communicate(timeout=900)[0] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), "\n".join(said)
    return "".join(said)


def left(folder: Path) -> Tensor:
    return safetensors.torch.load_file(folder / "second/scene.safetensors")["geometry.values"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run in one process."""
    outputs = tmp_path_factory.mktemp("alone")
    ran([sys.executable, *words(outputs), *(f"stages.{s}.trainer.devices=1" for s in ("first", "second"))])
    return outputs / "tiny/a"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["lightning", "torchrun", "srun", "by hand"])
def test_every_way_to_start_gives_one_folder_and_one_voice(alone: Path, tmp_path: Path, way: str) -> None:
    """Both processes of the tiny experiment do the same: the mean of equal gradients changes no bit."""
    outputs, port = tmp_path / "two", str(free_port())
    single = [sys.executable, *words(outputs)]
    if way == "lightning":
        said = ran(single)
    elif way == "torchrun":
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        said = ran([*torchrun, *words(outputs)])
    elif way == "srun":
        job = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1"}
        job |= {"SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0", "MASTER_PORT": port}
        tasks = [{**job, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(2)]
        said = ran(single, single, environments=tasks)
    else:
        machines = [
            f"stages.{s}.trainer.{key}" for s in ("first", "second") for key in ("devices=1", "num_nodes=2")
        ]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        nodes = [{**place, "NODE_RANK": str(i)} for i in range(2)]
        said = ran([*single, *machines], [*single, *machines], environments=nodes)
    assert [path.name for path in (outputs / "tiny").iterdir()] == ["a"]
    assert torch.equal(left(outputs / "tiny/a"), left(alone))
    assert said.count("first: finished") == 1 and said.count("second  9/9") == 1
    lines = (outputs / "tiny/a/second/metrics.jsonl").read_text().splitlines()
    assert len(lines) == len((alone / "second/metrics.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_processes_of_all_devices_go_through_a_sweep_together(tmp_path: Path) -> None:
    """Lightning starts the second process in the first job, and it has to find the folders of the others."""
    several = [word for word in words(tmp_path) if not word.startswith("name=")]
    ran([sys.executable, *several, "-m", "seed=0,-1,1", f"hydra.sweep.dir={tmp_path}/sweep"], code=2)
    assert [job.state for job in jobs.read(tmp_path / "sweep")] == ["finished", "refused", "finished"]
    assert len(list((tmp_path / "tiny").iterdir())) == 2
