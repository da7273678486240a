"""Any words and names: kept as they were typed, safe as a folder's name and in the report, never code."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from threestudio_like.files import write
from threestudio_like.run.arguments import already_quoted, checked, quoted
from threestudio_like.run.composition import build, plain
from threestudio_like.run.errors import UserError
from threestudio_like.run.folder import LONGEST, claimed, slug, title
from threestudio_like.run.inputs import check_letters, check_words
from threestudio_like.run.report import write_report

PROMPTS = {
    "empty": "",
    "spaces": "   ",
    "long": "a very long cup " * 640,  # 10 kB
    "one long word": "x" * 10_000,
    "path up": "../../etc/passwd",
    "path": "/etc/passwd",
    "path of Windows": "..\\..\\C:\\con",
    "hidden": ".ssh",
    "home": "~root",
    "dots": "...",
    "script": "<script>alert('cup')</script>",
    "closing": "</table></body><img src=x onerror=alert(1)>",
    "attribute": "\" onload='alert(1)' x=\"",
    "entity": "&lt;b&gt; &amp;amp;",
    "comment": "<!-- cup -->",
    "newlines": "a cup\nof tea\r\nhot",
    "control": "a\tcup\x07\x1b[31mred\x7f",
    "emoji": "🍰 a cup cake 👩‍👩‍👧",
    "accents": "une tasse émaillée, À gauche",
    "right to left": "كوب \u202eabc",
    "Chinese": "杯子",
    "combining": "e\u0301" * 100,
    "interpolation": "${seed} ${oc.env:HOME}",
    "half an interpolation": "${",
    "escaped": "\\${seed} $${a}",
    "commas": "a cup, red, (tall) [new] {blue}: 3=4",
    "quotes": "it's \"the\" 'cup'",
    "one quote": "'half",
    "quotes at both ends": '"a" or "b"',
    "years": "'60s and '70s'",
    "backslashes": "a\\\\b\\",
    "percent": "100% %s %(a)s {0}",
    "null": "null",
    "true": "true",
    "number": "1e3",
    "list": "[1,2]",
    "tag": "!!python/object/apply:os.system ['echo']",
    "anchor": "*a &b",
    "shell": "$(touch made); `touch made` | touch made",
    "flag": "--multirun",
}
CASES = list(PROMPTS)


def typed(words: str) -> object:
    """What a run takes `prompt=words` for."""
    (argument,) = checked(quoted([f"prompt={words}"]))
    value = OverridesParser.create().parse_override(argument).value()
    return OmegaConf.to_container(OmegaConf.create({"prompt": value, "read": "${prompt}"}), resolve=True)[
        "read"
    ]


def safe(name: str) -> bool:
    """Letters, digits and hyphens; no way out of a folder, and not hidden."""
    return re.fullmatch(r"[^\W_]([^\W_]|[-\w])*", name) is not None and len(name.encode()) <= LONGEST


class Tags(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.events: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.events |= {name for name, _ in attrs if name.startswith("on")}


KNOWN = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "table",
    "tr",
    "td",
    "details",
    "summary",
}
KNOWN |= {"pre", "p", "small", "div"}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_is_kept_named_and_shown(tmp_path: Path, name: str) -> None:
    words = PROMPTS[name]
    kept = tmp_path / title(name=None, prompt=words, sources=[])
    assert safe(kept.name) and kept.parent == tmp_path
    assert typed(words) == words or already_quoted(words)
    assert build({"_target_": "builtins.dict", "words": words}, "key") == {"words": words}
    write(kept / "config.yaml", OmegaConf.to_yaml(OmegaConf.create({"prompt": words.replace("${", "$ {")})))
    assert plain(kept / "config.yaml")["prompt"] == words.replace("${", "$ {")
    record = {
        "prompt": words,
        "image": words,
        "overrides": [f"prompt={words}"],
        "error": words,
        "plan": [],
        "seed": 0,
    }
    write(kept / "run.json", json.dumps(record))
    write_report(kept)
    page, tags = (kept / "report.html").read_text(encoding="utf-8"), Tags()
    tags.feed(page)
    assert tags.tags <= KNOWN and not tags.events
    assert words.strip().split("\r")[0].split("\n")[0] in unescape(page)
    assert {path.name for path in tmp_path.iterdir()} == {kept.name}


@pytest.mark.parametrize(
    "name", ["../../up", "/tmp/x", ".hidden", "a/b", "con\0", "~", "..", "a\nb", "🍰", "x" * 999]
)
def test_a_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    path = claimed(tmp_path / "outputs", title(name=name, prompt="", sources=[]))
    assert path.parent == tmp_path / "outputs" and path.is_dir() and safe(path.name)
    assert [each.name for each in tmp_path.iterdir()] == ["outputs"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=200))
def test_any_words(words: str) -> None:
    assert slug(words) == "" or safe(slug(words))
    assert slug(slug(words)) == slug(words)
    if not already_quoted(words) and words != "???":  # which is refused (test_bad_settings.py)
        assert typed(words) == words


@pytest.mark.parametrize("text", ["\udcff", "cup \udc80", "\ud800"])
def test_bytes_of_another_encoding(text: str) -> None:
    with pytest.raises(UserError, match=r"^prompt: expected UTF-8, got '.*\\ud"):
        check_letters("prompt", text)


ROOTS = {
    "prompt": ([3, None, ["a cup"], {"a": 1}, True], "prompt: expected a text, got "),
    "name": ([3, "", " ", ["a"]], "name: expected a name, got "),
    "outputs": ([None, "", 3], "outputs: expected a folder, got "),
    "image": (["", 3, {"a": 1}], "image: expected a picture's file, such as PNG or JPEG, got "),
    "object": (["\t", 7], "object: expected a mesh's file, such as GLB or OBJ, got "),
    "dataset": ([[], ""], "dataset: expected a folder of posed pictures, got "),
    "resume": (["", 1.5], "resume: expected the folder of a run, got "),
    "elevation": (
        [91, -90.5, "high", None, True, float("nan"), float("inf")],
        "elevation: expected degrees from -90",
    ),
}
ROOT_CASES = [(key, value) for key, (values, _) in ROOTS.items() for value in values]
CASES += [f"{key}={value}" for key, value in ROOT_CASES]


@pytest.mark.parametrize(("key", "value"), ROOT_CASES, ids=map(str, ROOT_CASES))
def test_the_root_s_own_values(key: str, value: object) -> None:
    tree = {
        "image": None,
        "object": None,
        "dataset": None,
        "resume": None,
        "name": None,
        "outputs": "outputs",
        "init": None,
        "dry": False,
        "reuse": False,
        "tags": [],
        "note": "",
    }
    config = OmegaConf.create({**tree, "prompt": "", "elevation": 0.0, "plan": None, key: value})
    with pytest.raises(UserError) as caught:
        check_words(config)
    assert str(caught.value).startswith(ROOTS[key][1])
    del config[key]
    with pytest.raises(UserError, match=f"^{key}: cannot be left out$"):
        check_words(config)
