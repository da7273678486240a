"""Which stages run, in which order, and what can be said of them before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from threestudio_like.run.errors import UserError, brief, hint
from threestudio_like.run.signatures import is_part

PARTS = ("system", "data", "trainer")
MAX_SEED = 2**32 - 1  # of NumPy's generator


def planned(config: Mapping[str, Any]) -> list[str]:
    """The stages to run, in order."""
    stages, plan = config["stages"], config.get("plan")
    if plan is None:
        return list(stages)
    if not isinstance(plan, list):
        shown = f"[{plan}]" if isinstance(plan, str) and plan in stages else f"[{','.join(stages)}]"
        raise UserError(f"plan: expected a list, got {plan!r}; write plan={shown}")
    if not plan:
        raise UserError(f"plan: names no stage{hint('', stages)}")
    for name in map(str, plan):
        if name not in stages:
            raise UserError(f"plan: no stage {name!r}{hint(name, stages)}")
    ordered = [name for name in stages if name in plan]
    if plan != ordered:  # a stage begins from the scene of the one before it, and is run once
        wrong = "a stage twice" if len(set(plan)) < len(plan) else "stages out of their order"
        raise UserError(f"plan: names {wrong}, got [{','.join(plan)}]; write plan=[{','.join(ordered)}]")
    return plan


def check_plan(config: Mapping[str, Any]) -> None:
    """The seed, the stages and the plan of a resolved tree, but not what the stages are made of."""
    seed, stages = config.get("seed"), config.get("stages")
    if type(seed) is not int or not 0 <= seed <= MAX_SEED:
        raise UserError(f"seed: expected a whole number from 0 to {MAX_SEED}, got {brief(repr(seed))}")
    if not isinstance(stages, Mapping) or not stages:
        raise UserError(
            "stages: nothing to run; an experiment brings some (without experiment=, the default one)"
        )
    for name, stage in stages.items():
        stage = stage if isinstance(stage, Mapping) else {}
        lacks = [part for part in PARTS if not is_part(stage.get(part))]
        if lacks:
            others = [other for other in stages if other != name]
            raise UserError(f"stages.{name}: has no {' and no '.join(lacks)}{hint(name, others)}")
        for part in stage:
            if part not in PARTS:
                raise UserError(f"stages.{name}.{part}: a stage has no such part{hint(part, PARTS)}")
    planned(config)
