"""What Hydra and OmegaConf say, in our words; what a constructor says, under its full key."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from threestudio_like.run.composition import build, leaves, resolved, run_in, saved
from threestudio_like.run.errors import UserError


class Part:
    def __init__(self, *, size: int, inner: Any = None) -> None:
        if size == 0:
            raise ValueError("size: expected at least 1.\n  got 0")
        if size == 1:
            raise ValueError("one is not enough")
        if size == 2:
            raise TypeError("a bug")


def part(size: int, **inner: Any) -> dict[str, Any]:
    return {"_target_": f"{Part.__module__}.Part", "size": size, **inner}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("parts_of_this_test")
    module.Part = Part  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "parts_of_this_test", module)
    monkeypatch.setattr(Part, "__module__", "parts_of_this_test")


def test_constructor_names_its_own_argument() -> None:
    with pytest.raises(UserError) as caught:
        build(part(3, inner=part(0)), "stages.a.system")
    assert str(caught.value) == "stages.a.system.inner.size: expected at least 1; got 0"


def test_constructor_says_something_else() -> None:
    with pytest.raises(UserError) as caught:
        build(part(1), "stages.a.system")
    assert str(caught.value) == "stages.a.system: one is not enough"


def test_a_bug_does_not_come_from_itself() -> None:
    """Who follows causes would never end."""
    with pytest.raises(TypeError) as caught:
        build(part(3, inner=part(2)), "stages.a.system")
    error: BaseException | None = caught.value
    seen: list[BaseException] = []
    while error is not None and len(seen) < 20:
        seen.append(error)
        error = error.__cause__ or error.__context__
    assert len(set(map(id, seen))) == len(seen)


def test_bug_is_raised_as_it_was() -> None:
    with pytest.raises(TypeError, match="a bug"):
        build(part(3, inner=part(2)), "stages.a.system")


def test_interpolation_of_nothing() -> None:
    with pytest.raises(Exception, match="nope"):
        resolved(OmegaConf.create({"prompt": "${nope}"}))


def test_leaves() -> None:
    assert dict(leaves({"a": {"b": 1, "c": [2]}, "d": {}}, "")) == {"a.b": 1, "a.c": [2], "d": {}}


def test_a_part_of_a_run_leads_to_the_run(tmp_path: Path) -> None:
    run = tmp_path / "cup"
    (run / "coarse" / "images").mkdir(parents=True)
    for name in ("run.json", "config.yaml"):
        (run / name).touch()
    for place in (run / "coarse", run / "coarse" / "images", run / "run.json", run / "nothing"):
        with pytest.raises(
            UserError, match=f"no run in {place}, which is a part of one; write resume={run}$"
        ):
            run_in(place)
    assert run_in(run) == run


@pytest.mark.parametrize("text", ["a: [b", "- a", "", "a: 1", "seed: 0", "seed: 0\nstages: {a: 1}"])
def test_damaged_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="resume: .*config.yaml"):
        saved(tmp_path, [], OmegaConf.create())
