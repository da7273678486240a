"""What a plan can get wrong; nothing heavy is imported for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from threestudio_like.run.errors import UserError
from threestudio_like.run.plan import check_plan, planned

PART = {"_target_": "builtins.dict"}
STAGE = {"system": PART, "data": PART, "trainer": PART}
STAGES = {"coarse": STAGE, "fine": STAGE}
NOTHING = "stages: nothing to run; an experiment brings some"


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"stages": {}}, NOTHING),
        ({"stages": None}, NOTHING),
        ({"stages": "coarse"}, NOTHING),
        ({"plan": ["coarze"]}, "plan: no stage 'coarze'; did you mean 'coarse'?"),
        ({"plan": "coarse"}, "plan: expected a list, got 'coarse'; write plan=[coarse]"),
        ({"plan": ""}, "plan: expected a list, got ''; write plan=[coarse,fine]"),
        ({"plan": []}, "plan: names no stage; choose one of: coarse, fine"),
        ({"plan": [["coarse"]]}, "plan: no stage \"['coarse']\""),
        (
            {"plan": ["fine", "coarse"]},
            "plan: names stages out of their order, got [fine,coarse]; write plan=[coarse,fine]",
        ),
        (
            {"plan": ["coarse", "coarse"]},
            "plan: names a stage twice, got [coarse,coarse]; write plan=[coarse]",
        ),
        ({"seed": -1}, "seed: expected a whole number from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "seed: expected a whole number from 0 to 4294967295, got 4294967296"),
        ({"seed": True}, "seed: expected a whole number"),
        ({"seed": None}, "seed: expected a whole number"),
        ({"seed": "abc"}, "seed: expected a whole number"),
        (
            {"stages": {"coarse": STAGE, "coarze": {"trainer": {"max_steps": 1}}}},
            "stages.coarze: has no system and no data and no trainer; did you mean 'coarse'?",
        ),
        ({"stages": {"coarse": None}}, "stages.coarse: has no system and no data and no trainer"),
        ({"stages": {"coarse": "fast"}}, "stages.coarse: has no system and no data and no trainer"),
        ({"stages": {"coarse": {**STAGE, "system": "fast"}}}, "stages.coarse: has no system"),
        ({"stages": {"coarse": {**STAGE, "dada": {}}}}, "stages.coarse.dada: a stage has no such part"),
    ],
)
def test_mistakes(config: dict, line: str) -> None:
    with pytest.raises(UserError) as caught:
        check_plan({"stages": STAGES, "seed": 0, **config})
    assert str(caught.value).startswith(line)


def test_planned() -> None:
    assert planned({"stages": STAGES, "plan": None}) == ["coarse", "fine"]
    assert planned({"stages": STAGES, "plan": ["fine"]}) == ["fine"]


def test_needs_no_torch() -> None:
    program = "import sys, threestudio_like.run.composition; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root).returncode == 0
