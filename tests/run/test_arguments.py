"""Raw words survive Hydra's grammar and OmegaConf's interpolation."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from threestudio_like.run.arguments import quote, quoted
from threestudio_like.run.composition import build


def read(argument: str) -> object:
    value = OverridesParser.create().parse_override(argument).value()
    return OmegaConf.to_container(OmegaConf.create({"prompt": value, "read": "${prompt}"}), resolve=True)[
        "read"
    ]


NASTY = [
    "a cup, red!",
    "it's",
    "true",
    "null",
    "3",
    "[a]",
    "a=b",
    "été",
    "'half",
    "${x}",
    "\\${x}",
    "a\\",
    "\\'",
    "$${",
]


@pytest.mark.parametrize("words", NASTY)
def test_nasty(words: str) -> None:
    assert read(quote(f"prompt={words}")) == words


@given(st.text(alphabet="ab ,'\"\\${}[]=:!#", max_size=8))
def test_any(words: str) -> None:
    if not (len(words) > 1 and words[0] == words[-1] and words[0] in "'\""):
        assert read(quote(f"prompt={words}")) == words
        assert build({"_target_": "builtins.dict", "a": [words]}, "key") == {"a": [words]}


def test_left_alone() -> None:
    same = ["seed=1,2", "prompt='a','b'", "-m", "image=null", "stages.a.prompt=x y", '--config-dir=x="y"']
    assert quoted(same) == same


def test_null_of_a_group() -> None:
    nulls = ["export=null", "geometry@stages.a.system.scene.geometry=null"]
    assert quoted(nulls) == [argument.replace("null", "[]") for argument in nulls]
    assert quoted(["score=null", "plan=null"]) == ["score=null", "plan=null"]  # values, not groups
