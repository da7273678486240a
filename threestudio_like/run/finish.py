"""What follows the stages: export, score and report, each a part of the configuration that is called once.

Such a part takes, by name, what it needs of: scene (of the last stage), data and reference (the View that the
last stage was shown), folder (its own for the export, the run's for the others). It returns a mapping.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from threestudio_like.files import write
from threestudio_like.run import scenes
from threestudio_like.run.composition import build
from threestudio_like.run.errors import mistakes
from threestudio_like.run.folder import RunFolder, failing

log = logging.getLogger(__name__)
STEPS = ("export", "score", "report")
RECORD = ("state", "seconds", "steps", "key", "taken")  # of a stage's part of run.json: what is no score


def run(config: Mapping[str, Any], folder: RunFolder, plan: list[str], *, again: bool) -> None:
    """Each configured step that is not done with these settings; `again` where a stage has run since.

    Export and score need a scene.
    """
    made = [name for name in plan if scenes.saved(folder.path / name)]
    for step in STEPS:
        before = folder.part("after", step)
        same = before.get("settings", config.get(step)) == config.get(step)
        done = before.get("state") == "finished" and same
        if not config.get(step) or (step != "report" and not made) or (done and not again):
            continue
        again = True  # what follows reads what this step writes
        log.info("%s", step)
        folder.record_part("after", step, state="running")
        with failing(folder, "after", step), mistakes(step):
            part = build(config[step], step)
            place = folder.path / step if step == "export" else folder.path
            last = (made or plan)[-1]
            result = part(**asked_for(part, config["stages"][last], folder.path / last, place))
        done_with = {"settings": config[step], "result": dict(result or {})}
        folder.record_part("after", step, state="finished", **done_with)
        summarize(folder)
        announce(folder.part("after", step)["result"])
    folder.record(state="finished")
    summarize(folder)


def asked_for(part: Callable[..., Any], stage: Mapping[str, Any], path: Path, place: Path) -> dict[str, Any]:
    """What the part's signature names."""
    names = inspect.signature(part).parameters
    given: dict[str, Any] = {"folder": place}
    if "scene" in names:
        given["scene"] = scenes.load(path).eval()
    if "data" in names or "reference" in names:
        given["data"] = build(stage["data"], f"stages.{path.name}.data")
    if "reference" in names:
        given["reference"] = given["data"].reference(given["data"].size)
    return {name: value for name, value in given.items() if name in names}


def announce(result: Mapping[str, Any]) -> None:
    """One line for each thing that came out."""
    for name, value in result.items():
        log.info("  %-16s %s", name, f"{value:.4g}" if isinstance(value, float) else value)


def summarize(folder: RunFolder) -> None:
    """metrics.json of the run: the scores, the seconds of all stages, and what each stage and step said.

    Scores are those of the last stage and of the export.
    """
    stages = folder.manifest.get("stages", {})
    last: Mapping[str, Any] = next(reversed(stages.values()), {})
    own = {name: value for name, value in last.items() if name not in RECORD}
    steps = {name: step.get("result", {}) for name, step in folder.manifest.get("after", {}).items()}
    total = sum(stage.get("seconds", 0.0) for stage in stages.values())
    summary = {**own, **steps.pop("score", {}), "seconds": round(total, 1), "stages": stages, **steps}
    write(folder.path / "metrics.json", json.dumps(summary, indent=2, default=str) + "\n")
