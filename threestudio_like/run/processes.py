"""Which of a run's processes this is, and how the first one tells the others which folder it took.

They are started by Lightning, which hands its environment on, or by others: torchrun, Slurm's srun, or a hand
that starts one process on each machine (NODE_RANK, MASTER_ADDR, MASTER_PORT). Those meet at a small store of
torch's: torchrun keeps one; otherwise the first process does, at the port after the run's.
"""

from __future__ import annotations

import itertools
import os
from datetime import timedelta
from pathlib import Path

from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from torch.distributed import TCPStore, is_available, is_initialized

HOME = "THREESTUDIO_LIKE_RUN"  # tells the processes that Lightning starts which folder the first one took
BY_HAND = "NODE_RANK" in os.environ and "LOCAL_RANK" not in os.environ  # Lightning sets both for its own
LOST = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")
WAIT = timedelta(minutes=30)  # for the first process, which reads and checks its input before
meetings = itertools.count()  # runs of a sweep take folders in the same order everywhere
stores: list[TCPStore] = []  # one; it lives as long as its process, as others may come late


def first() -> bool:
    """Whether this is the process that writes; the others compute beside it."""
    return rank() == 0


def rank() -> int:
    """0 for the first process; as Lightning will count them, where others start them."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["RANK"])
    if under_slurm():
        return int(os.environ["SLURM_PROCID"])
    return int(os.environ.get("NODE_RANK") or 0) or int(os.environ.get("LOCAL_RANK") or 0)


def under_slurm() -> bool:
    """Whether srun started this process, and others with it."""
    return SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS") or 1) > 1


def tell(folder: Path) -> None:
    """What the first process took."""
    os.environ[HOME] = str(folder)
    if started_by_others():
        store().set(f"folder/{next(meetings)}", str(folder))


def told() -> Path | None:
    """What the first process took; None if nobody can have told."""
    if started_by_others():
        os.environ[HOME] = store().get(f"folder/{next(meetings)}").decode()
    return Path(os.environ[HOME]) if HOME in os.environ else None


def deserted(error: BaseException) -> bool:
    """Whether a step stopped because another process of the run is gone; torch has no type for it."""
    return is_available() and is_initialized() and any(word in str(error) for word in LOST)


def started_by_others() -> bool:
    """Whether this process's environment comes from no process of the run."""
    return TorchElasticEnvironment.detect() or under_slurm() or BY_HAND


def store() -> TCPStore:
    """Where the processes meet."""
    if not stores:
        host, port, serves = meeting_place()
        stores.append(TCPStore(host, port, is_master=serves, timeout=WAIT, wait_for_workers=False))
    return stores[0]


def meeting_place() -> tuple[str, int, bool]:
    """Host and port, and whether this process is the one that keeps the store."""
    if TorchElasticEnvironment.detect():
        kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        port = int(os.environ["MASTER_PORT"])
        return os.environ["MASTER_ADDR"], port if kept else port + 1, not kept and first()
    if under_slurm():
        cluster = SLURMEnvironment()
        return cluster.main_address, cluster.main_port + 1, first()
    return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]) + 1, first()
