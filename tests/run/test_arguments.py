"""Raw words survive Hydra's grammar and OmegaConf's interpolation."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from threestudio_like.run.arguments import already_quoted, checked, quote, quoted
from threestudio_like.run.composition import build
from threestudio_like.run.errors import UserError


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
    '"a" or "b"',
    "'60s and '70s'",
    "'a' 'b'",
    "'a\\'",
]


@pytest.mark.parametrize("words", NASTY)
def test_nasty(words: str) -> None:
    assert read(quote(f"prompt={words}", sweep=False)) == words
    assert quoted(quoted([f"prompt={words}"])) == quoted([f"prompt={words}"])  # for the next process


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="ab ,'\"\\${}[]=:!#", max_size=8))
def test_any(words: str) -> None:
    if not already_quoted(words):
        assert read(quote(f"prompt={words}", sweep=False)) == words
        assert build({"_target_": "builtins.dict", "a": [words]}, "key") == {"a": [words]}


def test_left_alone() -> None:
    same = [
        "seed=1,2",
        "prompt='a','b'",
        "prompt='a, b' , \"c'\"",
        r"note='it\'s'",
        "image=null",
        "image=",
        "stages.a.prompt=x y",
        "-m",
        '--x=x="y"',
    ]
    assert quoted(same) == same


def test_flags_go_last() -> None:
    mixed = ["--config-dir", "there", "seed=1,2", "-m", "~export"]
    assert quoted(mixed) == ["seed=1,2", "~export", "--config-dir", "there", "-m"]


@pytest.mark.parametrize("flag", ["-m", "--multirun", "hydra.mode=MULTIRUN"])
def test_commas_part_paths_in_a_sweep(flag: str) -> None:
    words = ["image=a b.png,null,c.png", "prompt=a cup, red", "name='a,b'"]
    assert quoted(words)[0] == "image='a b.png,null,c.png'"
    assert quoted([*words, flag])[:3] == ["image='a b.png',null,'c.png'", "prompt='a cup, red'", "name='a,b'"]


def test_stages_wait_for_their_experiment_in_a_sweep() -> None:
    words = ["experiment=a,b", "stages.x.size=3", "+stages.x.rate=1,2", "data@stages.x.data=pairs", "seed=1"]
    waiting = [words[0], "stages.x.size=choice(3)", words[2], "data@stages.x.data=choice(pairs)", "seed=1"]
    assert quoted([*words, "-m"]) == [*waiting, "-m"]
    assert quoted(same := [*words[1:], "experiment=a", "-m"]) == same


def test_null_of_a_group() -> None:
    nulls = ["export=null", "geometry@stages.a.system.scene.geometry=null"]
    assert quoted(nulls) == [argument.replace("null", "[]") for argument in nulls]
    assert quoted(["score=null", "plan=null"]) == ["score=null", "plan=null"]  # values, not groups


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("--multirum", "--multirum: no such flag; did you mean '--multirun'?"),
        ("--xyzw", "--xyzw: no such flag; --hydra-help lists them"),
        ("--seed=3", "--seed=3: no such flag; write seed=3"),
        ("--cfg", "argument --cfg/-c: expected one argument"),
        ("--cfg=jobs", "argument --cfg/-c: invalid choice: 'jobs'"),
        ("=3", "cannot read '=3'; write key=value"),
        ("@=3", "cannot read '@=3'; write key=value"),
        ("+", "cannot read '+'; write key=value"),
        ("", "cannot read ''; write key=value"),
        ("outputs=null", "outputs: expected a folder, got None"),
        ("image=' '", "image: expected a picture's file, such as PNG or JPEG, got ' '"),
    ],
)
def test_flags(word: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError) as caught:
        checked(quoted(["seed=1", word]))
    assert str(caught.value).startswith(line) and capsys.readouterr() == ("", "")


def test_known_flags() -> None:
    words = quoted(["-m", "seed=1,2", "--config-dir", "there"])
    assert checked(words) is words
