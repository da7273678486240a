"""The sides of every contest do the same work: ours, the references, and what peers are installed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCH = Path(__file__).parent / "bench"
# others differ in what they compute
SAME = ("ours, torch", "Warp", "C++, OpenMP", "nerfacc, dense", "published, torch")


@pytest.mark.filterwarnings("ignore")  # the peers'
def test_sides_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import smallest

    for contest in smallest.contests():
        found = {whose: side() for whose, side in contest.sides.items()}
        for whose in SAME:
            if whose in found:
                ours = [part.detach() for part in found["ours"]]
                theirs = [part.view_as(own) for part, own in zip(found[whose], ours, strict=True)]
                torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-4, msg=f"{contest.what}: {whose}")


def test_times_are_taken_by_turns_and_divided_by_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import timing

    calls: list[str] = []
    clock = iter(range(10**6))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock) + 2 * calls.count("slow")))
    contest = timing.Contest(
        "work", {"ours": lambda: calls.append("ours"), "slow": lambda: calls.append("slow")}
    )
    found = timing.compete(contest)
    assert calls[:4] == ["ours", "slow"] * 2
    assert [row.milliseconds for row in found] == [1000, 3000] and found[1].ratio == 3
    assert "| work | ours | 1e+03 | 1.00 | 1000 |" in timing.table(found)
    assert "|  | slow | 3e+03 | 3.00 | 3000 |" in timing.table(found)


def test_a_peer_that_is_not_here_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import timing

    assert timing.peer("torch") is torch
    assert timing.peer("no_such_package.part") is None
    assert "no_such_package" in timing.missed["no_such_package"]


def test_asking_for_a_peer_leaves_the_viewer_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import nerfstudio_peer

    for name in nerfstudio_peer.VIEWER:
        monkeypatch.delitem(sys.modules, name, raising=False)
    nerfstudio_peer.nerfstudio("no_such_part")
    assert not any(name in sys.modules for name in nerfstudio_peer.VIEWER)
    importlib.util.find_spec("viser")  # a stand-in has no spec: ValueError


def test_asking_for_a_peer_keeps_a_viewer_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import nerfstudio_peer

    loaded = ModuleType("viser")
    monkeypatch.setitem(sys.modules, "viser", loaded)
    nerfstudio_peer.nerfstudio("no_such_part")
    assert sys.modules["viser"] is loaded
