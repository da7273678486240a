"""Which process this is under every launcher, and that they agree on one folder."""

import itertools
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from threestudio_like.run import processes

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "RANK": "3"}
SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_JOB_NAME": "fox",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
ALL = {
    *TORCHRUN,
    *SLURM,
    "NODE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "SLURM_JOB_ID",
    "TORCHELASTIC_USE_AGENT_STORE",
}


@pytest.fixture
def surrounded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """As a launcher would start this process."""
    monkeypatch.delenv(processes.HOME, raising=False)

    def set_to(environment: dict[str, str], by_hand: bool = False) -> None:
        for name in ALL:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(processes, "BY_HAND", by_hand)
        monkeypatch.setattr(processes, "meetings", itertools.count())
        monkeypatch.setattr(processes, "stores", [])

    return set_to


@pytest.mark.parametrize(
    ("environment", "rank", "others"),
    [
        ({}, 0, False),
        ({"NODE_RANK": "0", "LOCAL_RANK": "1"}, 1, False),  # started by Lightning
        (TORCHRUN, 3, True),
        ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}, 0, True),
        (SLURM, 2, True),
        ({**SLURM, **TORCHRUN}, 3, True),  # torchrun in a job of Slurm's
        ({**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, 0, False),  # sbatch without srun
        ({**SLURM, "SLURM_JOB_NAME": "interactive"}, 0, False),
    ],
)
def test_which_process_this_is(
    surrounded: Callable[..., None], environment: dict[str, str], rank: int, others: bool
) -> None:
    surrounded(environment)
    assert (processes.rank(), processes.first()) == (rank, rank == 0)
    assert processes.started_by_others() == others


def test_lightning_s_own_inherit_the_folder(surrounded: Callable[..., None], tmp_path: Path) -> None:
    surrounded({})
    assert processes.told() is None
    processes.tell(tmp_path)
    assert processes.told() == tmp_path


def port() -> int:
    """One that is free, as is the next, with luck."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_torchrun_keeps_a_store_and_others_begin_one(surrounded: Callable[..., None], tmp_path: Path) -> None:
    for launcher in ("torchrun", "srun", "by hand"):
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port())}
        if launcher == "torchrun":
            agent = TCPStore(
                "127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=9)
            )
            kept = {"MASTER_PORT": str(agent.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
            first = {**TORCHRUN, **place, **kept, "RANK": "0"}
            second = {**first, "RANK": "1"}
        elif launcher == "srun":
            first, second = ({**SLURM, **place, "SLURM_PROCID": number} for number in "01")
        else:
            first, second = ({**place, "NODE_RANK": number} for number in "01")
        surrounded(first, by_hand=launcher == "by hand")
        for name in ("a", "b"):  # of a sweep
            processes.tell(tmp_path / launcher / name)
        held = processes.stores[:]
        surrounded(second, by_hand=launcher == "by hand")
        assert [processes.told() for _ in range(2)] == [tmp_path / launcher / name for name in ("a", "b")]
        assert len(held) == len(processes.stores) == 1


def test_a_process_that_is_gone_is_told_from_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = RuntimeError(
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]"
    )
    assert not processes.deserted(gone)  # one process alone has nobody to lose
    monkeypatch.setattr(processes, "is_initialized", lambda: True)
    assert processes.deserted(gone) and not processes.deserted(RuntimeError("shape mismatch"))
