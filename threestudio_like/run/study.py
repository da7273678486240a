"""Variants side by side: means with standard errors, differences to one of them, and a sheet of pictures.

Written after every run of a sweep (`study=`, whose YAML names this as Hydra's callback) into its outputs as
study.md, study.csv (a line for each run) and sheet.png; `python -m threestudio_like.run.study FOLDER` does it
once more.
An object counts once, whatever its number of seeds: measurements of one object are not independent.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from threestudio_like import markdown
from threestudio_like.files import write, write_csv
from threestudio_like.metrics.paired import estimated
from threestudio_like.run.composition import plain
from threestudio_like.run.errors import UserError, hint
from threestudio_like.run.folder import recorded
from threestudio_like.run.inputs import SOURCES, at
from threestudio_like.run.table import SCORES

log = logging.getLogger(__name__)
HEIGHT = 96  # pixels of a run's preview on the sheet


class Trial(NamedTuple):
    """One finished run."""

    variant: str  # the experiment
    thing: str  # what it was made from; a picture's file has its suffix
    seed: int
    scores: Mapping[str, float]  # and the seconds of each stage
    folder: Path
    pictured: bool  # made from a picture, of which no truth is known

    @property
    def line(self) -> str:
        """Its line in the tables: pictures have one of their own."""
        return f"{self.variant}, pictures" if self.pictured else self.variant


class Study(Callback):
    """Hydra's callback. against: the variant that the others are compared with; null for none. loggers: of
    the whole, in its folder.
    """

    def __init__(self, *, against: str | None, loggers: Mapping[str, Any] | None = None) -> None:
        self.against, self.loggers = against, loggers

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """What is known so far."""
        folder = at(config.outputs)
        written(folder, finished(folder), self.against)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """All of it, to dashboards as well; where it is, is said."""
        folder = at(config.outputs)
        every = finished(folder)
        if count := written(folder, every, self.against):
            show(folder, latest(every), self.against, self.loggers or {})
            print(f"{folder}/study.md, study.csv, sheet.png: {count} runs")


def written(folder: Path, every: Sequence[Trial], against: str | None) -> int:
    """study.md, study.csv and sheet.png (a line for each thing); how many runs they tell of."""
    found = latest(every)
    if found:
        older = len(every) - len(found)
        note = f"\nolder runs of the same variant, thing and seed, left out: {older}\n" if older else ""
        write(folder / "study.md", text(found, against) + note)
        names = measured(found)
        lines = [[*trial[:3], *(trial.scores.get(name) for name in names)] for trial in found]
        write_csv(folder / "study.csv", ["variant", "thing", "seed", *names], lines)
        from threestudio_like.export.sheet import write_sheet  # what composes needs no Pillow

        things = {
            trial[1:3]: f"{trial.thing} {trial.seed}" for trial in sorted(found, key=lambda it: it[1:3])
        }
        pictures = {
            (things[trial[1:3]], trial.variant): trial.folder / "export" / "preview.png" for trial in found
        }
        write_sheet(folder / "sheet.png", pictures, list(things.values()), variants(found), HEIGHT)
    return len(found)


def show(folder: Path, found: Sequence[Trial], against: str | None, loggers: Mapping[str, Any]) -> None:
    """What was written, to dashboards."""
    if loggers:
        from threestudio_like.loggers.images import opened
        from threestudio_like.run.dashboards import show_sweep
        from threestudio_like.run.stages import placed

        nodes = placed({"logger": loggers}, folder)["logger"]
        pictures = {"sheet": opened(folder / "sheet.png")}
        show_sweep(nodes, "hydra.callbacks.study.loggers", pictures, tables(found, against))


def finished(folder: Path) -> list[Trial]:
    """Every finished run below `folder`, as they began; of damaged ones only a warning."""
    found = []
    records = [(recorded(file), file.parent) for file in folder.rglob("run.json")]
    for record, place in sorted(records, key=lambda pair: str(pair[0].get("started", ""))):
        numbers = recorded(place / "metrics.json")
        if record.get("state") != "finished" or not numbers:
            continue
        try:
            tree = plain(place / "config.yaml")
        except UserError:
            tree = {}
        variant, seed = record.get("experiment"), record.get("seed")
        if not tree or type(seed) is not int or not isinstance(variant, str) or not variant.isprintable():
            log.warning("%s: damaged, and left out", place)
            continue
        source = next((key for key in SOURCES if tree.get(key)), "")
        pictured, given = source == "image", Path(str(tree.get(source, "?")))
        thing = given.name if pictured else given.stem
        found.append(Trial(variant, thing, seed, scored(numbers), place, pictured))
    return found


def scored(numbers: Mapping[str, Any]) -> dict[str, float]:
    """What a run's metrics.json tells of scores, and of its stages' time."""
    stages = numbers.get("stages")
    told: dict[str, Any] = {name: numbers.get(name) for name in SCORES}
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        told[f"{name}_seconds"] = stage.get("seconds") if isinstance(stage, dict) else None
    return {name: value for name, value in told.items() if type(value) in (int, float) and isfinite(value)}


def latest(found: Sequence[Trial]) -> list[Trial]:
    """Of those of one variant, thing and seed, the last; in their order."""
    return sorted({trial[:3]: trial for trial in found}.values(), key=lambda trial: trial[:3])


def variants(found: Sequence[Trial]) -> list[str]:
    """Their names, each once."""
    return list(dict.fromkeys(trial.variant for trial in found))


def measured(found: Sequence[Trial]) -> list[str]:
    """What any of them has a score in; the stages' seconds come last."""
    names = dict.fromkeys(name for trial in found for name in trial.scores)
    return sorted(names, key=lambda name: SCORES.index(name) if name in SCORES else len(SCORES))


def text(found: Sequence[Trial], against: str | None) -> str:
    """Markdown: a table of means, and one of differences to `against` over the same objects and seeds."""
    titles = {
        "means": "mean ± standard error over objects",
        "differences": f"difference to {against}, of the same objects and seeds",
    }
    parts = [f"{titles[name]}\n\n{markdown.table(*cells)}" for name, cells in tables(found, against).items()]
    return "\n\n".join(parts) + "\n"


def tables(found: Sequence[Trial], against: str | None) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Heads and lines of `means`, and of `differences` where there is what to compare with."""
    names = measured(found)
    groups = {line: [t for t in found if t.line == line] for line in dict.fromkeys(t.line for t in found)}
    rows = [[line, str(len(group)), *(mean(group, name) for name in names)] for line, group in groups.items()]
    made = {"means": (["variant", "runs", *names], rows)}
    base = {trial[1:3]: trial for trial in found if trial.variant == against}
    rows = []
    for line, group in groups.items():
        pairs = [(trial, base[trial[1:3]]) for trial in group if trial[1:3] in base]
        if group[0].variant != against and pairs:
            rows.append([line, str(len(pairs)), *(difference(pairs, name) for name in names)])
    return made | ({"differences": (["variant", "pairs", *names], rows)} if rows else {})


def mean(group: Sequence[Trial], name: str) -> str:
    """Of those that have this score."""
    values = [(trial.thing, trial.scores[name]) for trial in group if name in trial.scores]
    return str(estimated(values)) if values else ""


def difference(pairs: Sequence[tuple[Trial, Trial]], name: str) -> str:
    """Of each from its partner, with its sign."""
    both = [(a, b) for a, b in pairs if name in a.scores and name in b.scores]
    values = [(a.thing, a.scores[name] - b.scores[name]) for a, b in both]
    if not values:
        return ""
    told = str(estimated(values))
    return told if told.startswith("-") else f"+{told}"


def main(arguments: list[str]) -> int:
    """Write the files of one folder, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m threestudio_like.run.study", description=__doc__)
    parser.add_argument("folder", type=Path, help="of runs, such as outputs/study/dreamcraft3d")
    parser.add_argument("--against", help="the variant that the others are compared with")
    given = parser.parse_args(arguments)
    every = finished(given.folder) if given.folder.is_dir() else []
    names = variants(every)
    if not names:
        return mistaken(f"expected a folder with finished runs, got {str(given.folder)!r}")
    if given.against is not None and given.against not in names:
        return mistaken(f"--against: no finished run of {given.against!r}{hint(given.against, names)}")
    written(given.folder, every, given.against)
    print((given.folder / "study.md").read_text(), end="")
    return 0


def mistaken(line: str) -> int:
    """Say it; the exit code."""
    print(f"error: {line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
