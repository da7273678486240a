"""A checkpoint is whole or absent, and plain."""

import signal
from collections.abc import Iterator

import pytest
import torch

from threestudio_like.run.checkpoints import AtomicCheckpointIO, Checkpoints


def test_failed_save_keeps_the_last(tmp_path) -> None:
    file, keeper = tmp_path / "checkpoints" / "last.ckpt", AtomicCheckpointIO()
    keeper.save_checkpoint({"step": 1}, file)
    with pytest.raises(Exception, match="pickle"):
        keeper.save_checkpoint({"step": lambda: 2}, file)
    assert torch.load(file, weights_only=True) == {"step": 1}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Python's own handler, which a process started in the background of a script does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_first_interrupt_waits_second_does_not(keyboard: None) -> None:
    kept = Checkpoints(every=1)
    with pytest.raises(KeyboardInterrupt), kept.listening():
        signal.raise_signal(signal.SIGINT)
        assert kept.interrupted
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_seconds_go_on() -> None:
    kept = Checkpoints(every=1)
    kept.load_state_dict({"seconds": 12.5})
    assert kept.state_dict() == {"seconds": 12.5}
