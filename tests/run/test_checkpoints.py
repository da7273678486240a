"""A checkpoint is whole or absent, and plain."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from threestudio_like.run.checkpoints import AtomicCheckpointIO, Checkpoints
from threestudio_like.run.errors import UserError


def test_failed_save_keeps_the_last(tmp_path) -> None:
    file, keeper = tmp_path / "checkpoints" / "last.ckpt", AtomicCheckpointIO()
    keeper.save_checkpoint({"step": 1}, file)
    with pytest.raises(Exception, match="pickle"):
        keeper.save_checkpoint({"step": lambda: 2}, file)
    assert torch.load(file, weights_only=True)["step"] == 1
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


def written(file: Path, **changes: object) -> Path:
    """As a stage writes it."""
    own = {"state_dict": {"a": torch.zeros(2), "count": torch.tensor(3)}, "optimizer_states": [{"state": {}}]}
    AtomicCheckpointIO().save_checkpoint(own | changes, file)
    return file


def said(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        AtomicCheckpointIO().load_checkpoint(file, weights_only=True)
    return str(caught.value)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = AtomicCheckpointIO().load_checkpoint(written(tmp_path / "last.ckpt", epoch=3), weights_only=True)
    assert found["epoch"] == 3 and found["state_dict"]["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(epoch=4),
        lambda found: found.update(more=None),
        lambda found: found.pop("optimizer_states"),
        lambda found: found["state_dict"]["a"].add_(1e-8),
        lambda found: found["state_dict"].update(a=torch.zeros(2, dtype=torch.float16)),
        lambda found: found["optimizer_states"][0].update(state={0: {}}),
        lambda found: found.update(digest=None),
    ],
)
def test_what_was_changed_is_not(tmp_path: Path, change) -> None:
    file = written(tmp_path / "last.ckpt", epoch=3)
    found = torch.load(file, weights_only=True)
    change(found)
    torch.save(found, file)
    assert "not a whole checkpoint (it was changed after it was written)" in said(file)


@pytest.mark.parametrize("kind", ["sparse", "meta", "nested"])
def test_what_holds_no_plain_numbers_is_not(tmp_path: Path, kind: str) -> None:
    file = written(tmp_path / "last.ckpt")
    found, nested = torch.load(file, weights_only=True), []
    nested.append(nested)
    odd = {"sparse": torch.eye(2).to_sparse(), "meta": torch.zeros(2, device="meta"), "nested": nested}
    torch.save(found | {"state_dict": {"a": odd[kind]}}, file)
    assert "not a whole checkpoint (it cannot be read)" in said(file)


def test_what_another_program_wrote_is_not(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "optimizer_states": []}, tmp_path / "last.ckpt")
    assert "not a whole checkpoint (no stage wrote it)" in said(tmp_path / "last.ckpt")


def test_what_is_not_finite_is_named(tmp_path: Path) -> None:
    bad = torch.tensor([0.0, float("nan")])
    assert "(state_dict.a is not finite)" in said(written(tmp_path / "a", state_dict={"a": bad}))
    states = [{"state": {0: {"exp_avg": bad}}}]
    assert "(optimizer_states.0.state.0.exp_avg is not finite)" in said(
        written(tmp_path / "b", optimizer_states=states)
    )


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


def test_second_interrupt_stops_where_the_first_would_be_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a script
    try:
        with pytest.raises(KeyboardInterrupt), Checkpoints(every=1).listening():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_seconds_go_on() -> None:
    kept = Checkpoints(every=1)
    kept.load_state_dict({"seconds": 12.5})
    assert kept.state_dict()["seconds"] == 12.5


def test_a_pause_is_not_counted() -> None:
    clock = Checkpoints(every=1)
    before = clock._since
    clock.rested(3.0)
    assert clock._since == before + 3.0
