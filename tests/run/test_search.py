"""A study that outlives its process, on a function whose best is known."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from threestudio_like.run import search
from threestudio_like.run.errors import UserError
from threestudio_like.run.jobs import Job

optuna = pytest.importorskip("optuna", reason="pip install -e '.[sweep]' to search with TPE")
SEARCH = search.Search(seed=0, startup=5, jobs=1)


def space(*words: str) -> dict[str, object]:
    return search.space(OverridesParser.create().parse_overrides(list(words)))


def done(number: int, state: str = "finished", **metrics: float) -> Job:
    return Job(number, (), state, None, "", metrics)


def test_what_can_be_varied() -> None:
    kinds = optuna.distributions
    assert space("a=3", "b='x, y'") == {}
    assert space("a=interval(0,4)", "b=int(interval(1,9))", "c=tag(log,interval(1e-4,1e-1))") == {
        "a": kinds.FloatDistribution(0.0, 4.0),
        "b": kinds.IntDistribution(1, 9),
        "c": kinds.FloatDistribution(1e-4, 1e-1, log=True),
    }
    found = space("seed=range(0,3)", "n=range(4,17,4)", "x=range(0.0,1,0.25)", "geometry@a.b=sdf,'1, 2'")
    assert found == {
        "seed": kinds.IntDistribution(0, 2),  # Hydra's range leaves its end out
        "n": kinds.IntDistribution(4, 16, step=4),
        "x": kinds.FloatDistribution(0.0, 0.75, step=0.25),
        "geometry@a.b": kinds.CategoricalDistribution(["sdf", "'1, 2'"]),  # as the command line has it
    }


@pytest.mark.parametrize("word", ["a=interval(4,0)", "a=range(3,3)", "a=tag(log,interval(0,1))"])
def test_nothing_to_choose_from(word: str) -> None:
    with pytest.raises(UserError, match="^a: nothing to choose from"):
        space(word)


def test_it_finds_the_best(tmp_path: Path) -> None:
    """Of (x - 1)^2 on [-8, 8]: TPE ends within .5 of it, where at random 1 trial in 16 would be."""
    opened, varied = search.opened(tmp_path, "minimize", SEARCH), space("x=interval(-8,8)")
    tried = []
    for number in range(25):
        trial = search.asked(opened, varied)
        tried.append(trial.params["x"])
        search.told(opened, number, done(number, loss=(tried[-1] - 1) ** 2), "loss")
    assert abs(opened.best_params["x"] - 1) < 0.5
    assert sum(abs(x - 1) < 2 for x in tried[15:]) >= 5  # of 10; at random 2.5


def test_a_killed_study_goes_on_with_new_suggestions(tmp_path: Path) -> None:
    varied = space("x=interval(0,1)")
    first = search.opened(tmp_path, "maximize", SEARCH)
    before = [search.asked(first, varied).params["x"] for _ in range(3)]
    search.told(first, 0, done(0, iou=0.5), "iou")
    search.told(first, 1, done(1, "pruned"), "iou")  # and trial 2 is running when the process is killed
    again = search.opened(tmp_path, "maximize", SEARCH)
    search.caught_up(again, [done(2, "killed")], "iou")
    states = [trial.state.name for trial in again.get_trials()]
    assert states == ["COMPLETE", "PRUNED", "FAIL"] and search.num_done(again) == 2
    after = search.asked(again, varied)
    assert after.number == 3 and after.params["x"] not in before


def test_what_a_killed_sweep_had_begun_is_told_when_it_goes_on(tmp_path: Path) -> None:
    """Of five trials that ran when it was killed one finished, one was refused, one was pruned."""
    opened, varied = search.opened(tmp_path, "maximize", SEARCH), space("x=interval(0,1)")
    for _ in range(5):
        search.asked(opened, varied)
    found = [done(0, iou=0.5), done(1, "refused"), done(2, "pruned"), done(3, "interrupted")]
    search.caught_up(opened, found, "iou")
    assert [t.state.name for t in opened.get_trials()] == ["COMPLETE", "FAIL", "PRUNED", "FAIL", "FAIL"]
    assert opened.best_value == 0.5 and search.num_done(opened) == 3  # the others are made up for


def test_what_is_told(tmp_path: Path) -> None:
    opened, varied = search.opened(tmp_path, "maximize", SEARCH), space("x=interval(0,1)")
    jobs = [
        done(0, iou=0.25),
        done(1, other=1.0),
        done(2, iou=float("nan")),
        done(3, "failed"),
        done(4, "pruned"),
    ]
    for number, job in enumerate(jobs):
        search.asked(opened, varied)
        search.told(opened, number, job, "iou")
    states = [trial.state.name for trial in opened.get_trials()]
    assert states == ["COMPLETE", "FAIL", "FAIL", "FAIL", "PRUNED"] and opened.best_value == 0.25
    assert search.num_done(opened) == 5


def test_a_study_keeps_its_direction_and_its_words(tmp_path: Path) -> None:
    opened = search.opened(tmp_path, "maximize", SEARCH)
    search.asked(opened, space("x=a,b"))
    with pytest.raises(UserError, match="direction: .* was begun to maximize"):
        search.opened(tmp_path, "minimize", SEARCH)
    with pytest.raises(UserError, match="begun with other values"):
        search.asked(opened, space("x=a,c"))


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"needs optuna; pip install 'threestudio-like\[sweep\]'"):
        search.optuna()
