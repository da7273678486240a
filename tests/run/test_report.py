"""The page: whole without other files, safe for any words, and made of what the folder holds."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from threestudio_like.run.report import MAX_PICTURES, write_report

NASTY = "<script>alert('a & b')</script> \"cup\""


@pytest.fixture
def folder(tmp_path):
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    for step in range(20):
        (tmp_path / "coarse" / "images").mkdir(parents=True, exist_ok=True)
        imageio.imwrite(tmp_path / "coarse" / "images" / f"views-{step:06d}.png", pixels)
    (tmp_path / "coarse" / "images" / ".1-half-views-000020.png").write_bytes(b"\x89PNG")  # of a killed run
    (tmp_path / "export").mkdir()
    for name in ("preview.png", "front.png"):
        imageio.imwrite(tmp_path / "export" / name, pixels)
    (tmp_path / "export" / "turntable.mp4").write_bytes(b"film")
    imageio.imwrite(tmp_path / "input.png", pixels)
    (tmp_path / "export" / "model.glb").write_bytes(b"glTF")
    (tmp_path / "export" / "gaussians.ply").write_bytes(b"ply")
    lines = [json.dumps({"step": step, "loss/rgb": 1 / (step + 1)}) for step in range(500)]
    (tmp_path / "coarse" / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 500, "lo')
    (tmp_path / "config.yaml").write_text(json.dumps({"prompt": NASTY, "image": "cup.jpg"}))
    record = {"plan": ["coarse"], "overrides": [f"prompt={NASTY}"], "seed": 0}
    (tmp_path / "run.json").write_text(json.dumps(record))
    metrics = {
        "volume_iou": 0.51234567,
        "seconds": 61.5,
        "stages": {"coarse": {"seconds": 60.0, "steps": 500}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


class Tags(HTMLParser):
    """Which elements there are, and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.references += [value for key, value in attrs if key in ("src", "href", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(folder) -> tuple[str, Tags]:
    text = Path(write_report(folder)["report"]).read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return text, tags


def test_it_needs_no_other_file(folder):
    _, tags = page(folder)
    assert "link" not in tags.names and tags.names.count("script") == 2  # the model, and what turns it
    linked = {ref for ref in tags.references if not ref.startswith("data:")}
    assert linked == {"export/model.glb", "export/gaussians.ply"}
    assert {"video", "svg", "img", "table"} <= set(tags.names)


def test_the_first_picture_is_what_the_system_saw(folder):
    text, _ = page(folder)
    captions = re.findall(r"<figcaption>([^<]*)</figcaption>", text)
    assert captions[0].startswith("as the system saw it")


def test_what_may_be_wrong_with_the_picture_stands_above_it(folder):
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"remarks": ["several pieces < one"]}))
    text, _ = page(folder)
    assert 0 < text.index("several pieces &lt; one") < text.index("as the system saw it")


def test_words_are_escaped_and_shown(folder):
    text, _ = page(folder)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#x27;a &amp; b&#x27;)" in text


def test_metrics_are_in_the_table_with_how_they_were_aligned(folder):
    text, _ = page(folder)
    assert re.search(r"volume_iou</td><td class='n'>0\.5123</td>", text)
    assert "nothing was fitted to the truth" in text


def test_some_pictures_of_many_the_first_and_the_last_among_them(folder):
    text, _ = page(folder)
    shown = re.findall(r"<figcaption>([^<]*-\d+)</figcaption>", text)
    assert len(shown) == MAX_PICTURES and shown[0] == "views-000000" and shown[-1] == "views-000019"


def test_the_picture_is_shown_as_given_and_as_seen(folder, tmp_path):
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    imageio.imwrite(tmp_path / "cup.jpg", pixels)
    assert "as given" not in page(folder)[0]
    (folder / "config.yaml").write_text(json.dumps({"image": str(tmp_path / "cup.jpg")}))
    imageio.imwrite(folder / "input.png", pixels)
    assert "as given" in page(folder)[0] and "as the system saw it" in page(folder)[0]


def test_tags_and_a_note_are_shown(folder):
    (folder / "config.yaml").write_text(json.dumps({"tags": ["first", "blue"], "note": "a < b"}))
    text, _ = page(folder)
    assert "<td>first blue</td>" in text and "<td>a &lt; b</td>" in text


def test_an_empty_folder_still_has_a_page(tmp_path):
    text, _ = page(tmp_path)
    assert tmp_path.name in text and "<script" not in text
