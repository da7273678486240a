"""A checkpoint is whole or absent, and plain."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from threestudio_like.run.checkpoints import PROGRESS, AtomicCheckpointIO, Checkpoints, wrong_in
from threestudio_like.run.errors import UserError


def test_failed_save_keeps_the_last(tmp_path) -> None:
    file, keeper = tmp_path / "checkpoints" / "last.ckpt", AtomicCheckpointIO()
    keeper.save_checkpoint({"step": 1}, file)
    with pytest.raises(Exception, match="pickle"):
        keeper.save_checkpoint({"step": lambda: 2}, file)
    assert torch.load(file, weights_only=True) == {"step": 1}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["short", "empty", "words", "code", "foreign"])
def test_bad_checkpoint_is_refused_and_never_run(tmp_path: Path, kind: str) -> None:
    file, trace = tmp_path / "last.ckpt", tmp_path / "trace"
    torch.save({"weights": torch.zeros(1000), **({"x": Code(str(trace))} if kind == "code" else {})}, file)
    whole = file.read_bytes()
    file.write_bytes({"short": whole[:1500], "empty": b"", "words": b"hello"}.get(kind, whole))
    with pytest.raises(UserError, match="last.ckpt: not a whole checkpoint"):
        AtomicCheckpointIO().load_checkpoint(file, weights_only=True)
    assert not trace.exists()


def counted(steps: object) -> dict[str, object]:
    """Lightning's loops, as far as they say how many steps its optimiser has made."""
    return {"fit_loop": {PROGRESS: {"optimizer": {"step": {"total": {"completed": steps}}}}}}


def whole(**changes: object) -> dict[str, object]:
    """What a checkpoint has, as far as it is looked at before it is taken."""
    found: dict[str, object] = {
        "state_dict": {"a": torch.zeros(2), "count": torch.tensor(3)},
        "global_step": 3,
        "loops": counted(3),
        "callbacks": {"Checkpoints": {"seconds": 1.0}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}],
        "lr_schedulers": [],
    }
    return found | changes


NAN = torch.tensor([0.0, float("nan")])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"loops": []}, "loops is not of its kind"),
        ({"callbacks": []}, "callbacks is not of its kind"),
        ({"optimizer_states": None}, "optimizer_states is not of its kind"),
        ({"global_step": "a"}, "global_step is not of its kind"),
        ({"global_step": True}, "global_step is not of its kind"),
        ({"global_step": -1}, "global_step is below 0"),
        ({"loops": counted(10**6)}, "its loops count other steps"),
        ({"loops": {"fit_loop": []}}, "its loops count other steps"),
        ({"state_dict": {"a": NAN}}, "state_dict.a is not finite"),
        ({"optimizer_states": [{"state": {0: {"exp_avg": NAN}}}]}, "states.0.state.0.exp_avg is not finite"),
    ],
)
def test_what_is_wrong_in_a_checkpoint(changes: dict[str, object], words: str) -> None:
    said = wrong_in(whole(**changes))
    assert said.endswith(words) and bool(said) == bool(words)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last.ckpt: not a whole checkpoint \(no file\)"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=True)


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


def test_a_pause_is_not_counted() -> None:
    clock = Checkpoints(every=1)
    before = clock._since
    clock.rested(3.0)
    assert clock._since == before + 3.0
