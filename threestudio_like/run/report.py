"""report.html: what went in, what came out, and how it came about, in one file that needs no other.

It reads the run's folder and nothing else: run.json, config.yaml, metrics.json, the stages' pictures and
metrics.jsonl, export/.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from threestudio_like.files import write
from threestudio_like.run.curves import charts
from threestudio_like.run.orbit import orbit, program
from threestudio_like.run.seen import NAME as SEEN

KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
}
MAX_INPUT = 8 * 2**20  # bytes of the user's own picture; a larger one is only named
MAX_PICTURES = 6  # of one name and stage: the first, the last, and some between
MEANING = {
    "psnr": "dB, over pictures that were never fitted, as the last stage renders them",
    "ssim": "over the same pictures",
    "silhouette_iou": "outlines in the same pictures",
    "handover_iou": "volume that the last stage began with, against that of the stage before",
    "volume_iou": "volume shared with the true mesh, over the volume of both",
    "chamfer": "mean distance between the surfaces; the true mesh's longest side is 1",
    "novel_psnr": "dB, over the views that the picture does not show",
    "novel_ssim": "over the same views",
    "normal_error_deg": "mean angle between the surfaces' normals",
    "front_psnr": "dB, at the picture's own camera",
    "mask_iou": "outline against the picture's, at its own camera",
    "view_similarity": "cosine of new views and the picture, by an embedding",
    "view_consistency": "cosine of new views and each other, by the same",
    "sample_psnr": "dB, of sampled views against the true ones",
    "sample_ssim": "of the same",
    "sample_mask_iou": "of their outlines",
    "copied_input_psnr": "dB, of the picture itself in place of each sampled view",
    "hull_iou": "of each sampled outline, what the largest object fits that all of them allow",
    "true_hull_iou": "the same of the true views: the most that can be",
    "neighbour_psnr": "dB, from one sampled view to the next",
    "true_neighbour_psnr": "dB, from one true view to the next",
    "seconds": "all stages",
}
# the browser itself holds the page to what is in it
OFFLINE = (
    "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
    "media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
)
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
h1 { font-size: 1.5rem }
h2 { font-size: 1.1rem; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem }
img, video { max-width: 100%; height: auto }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top }
figcaption, small { color: #666; font-size: .8rem } svg { color: #36c; background: #f6f6f6 }
td, th { text-align: left; padding: .1rem 1.5rem .1rem 0; vertical-align: top }
td.n { font-variant-numeric: tabular-nums }
canvas { width: 30rem; height: 30rem; max-width: 100%; border: 1px solid #ddd;
         touch-action: none; cursor: grab }
pre { background: #f6f6f6; padding: 1rem; overflow: auto; font-size: .75rem }
"""


def write_report(folder: Path) -> dict[str, str]:
    """Write report.html of a run; what the folder lacks is left out."""
    record, metrics = _json(folder / "run.json"), _json(folder / "metrics.json")
    names = record.get("plan") or sorted(path.parent.name for path in folder.glob("*/images"))
    title = folder.name
    parts = [
        f"<h1>{escape(title)}</h1>",
        facts(record, folder),
        inputs(folder, record.get("remarks", [])),
        result(folder / "export"),
        table(metrics),
        *(stage(folder / name, metrics.get("stages", {}).get(name, {})) for name in names),
        source(folder / "config.yaml"),
    ]
    body = "".join(parts)
    body += program() if "<canvas" in body else ""
    head = f"<meta charset='utf-8'>{OFFLINE}<title>{escape(title)}</title><style>{STYLE}</style>"
    page = f"<!doctype html><html lang='en'><head>{head}</head><body>{body}</body></html>\n"
    write(folder / "report.html", page)
    return {"report": str(folder / "report.html")}


def facts(record: Mapping[str, Any], folder: Path) -> str:
    """What was asked for."""
    keys = (
        *("experiment", "prompt", "image", "object", "dataset", "init", "tags", "note"),
        *("overrides", "seed", "started", "error", "revision"),
    )
    known = {**_inputs(folder), **record}
    rows = [(key, known[key]) for key in keys if known.get(key) not in (None, "", [])]
    return _rows((key, _plain(value)) for key, value in rows)


def inputs(folder: Path, remarks: Sequence[str]) -> str:
    """The picture as it was given, if it is still there, and as the system saw it, with what may be wrong."""
    given = Path(_inputs(folder).get("image") or "")
    small = given.is_file() and given.stat().st_size <= MAX_INPUT and given.suffix.lower() in KINDS
    shown = [
        _figure(folder / SEEN, "as the system saw it: colours, alpha, and what else it was told"),
        _figure(given, "as given") if small else "",
    ]
    said = "".join(f"<p><strong>{escape(str(remark))}</strong></p>" for remark in remarks)
    return f"<h2>input</h2>{said}{''.join(shown)}" if any(shown) else ""


def result(export: Path) -> str:
    """The exported model to turn, its pictures, and where it is."""
    shown = [
        orbit(export / "model.glb"),
        _figure(export / "preview.png", "the picture and the model's colours; its alpha and the shape"),
        _figure(export / "front.png", "the picture, the model from its camera, the difference"),
        _figure(export / "turntable.mp4", "once around"),
    ]
    files = sorted({path.name for kind in ("model.*", "[!.]*.ply") for path in export.glob(kind)})
    links = ", ".join(f"<a href='export/{escape(name)}'>export/{escape(name)}</a>" for name in files)
    return f"<h2>result</h2>{''.join(shown)}<p>{links}</p>" if any(shown) or links else ""


def table(metrics: Mapping[str, Any]) -> str:
    """The scores, and what each means."""
    scores = [(name, value) for name, value in metrics.items() if isinstance(value, (int, float, type(None)))]
    if not scores:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td class='n'>{_plain(value)}</td>"
        f"<td><small>{MEANING.get(name, '')}</small></td></tr>"
        for name, value in scores
    )
    alignment = (
        "<p><small>Compared where it stands, in the true mesh's own frame: the picture's camera is known, "
        "and nothing was fitted to the truth.</small></p>"
    )
    return f"<h2>metrics</h2><table>{rows}</table>{alignment if 'volume_iou' in metrics else ''}"


def stage(folder: Path, summary: Mapping[str, Any]) -> str:
    """The pictures that appeared while a stage ran, and its losses."""
    kept = {name: value for name, value in summary.items() if isinstance(value, (int, float, str))}
    words = ", ".join(f"{name} {_plain(value)}" for name, value in kept.items())
    pictures = "".join(_figure(path, path.stem) for path in chosen(sorted(folder.glob("images/[!.]*.png"))))
    pictures += "".join(_figure(path, path.stem) for path in sorted(folder.glob("[!.]*.mp4")))
    lines = charts(folder / "metrics.jsonl")
    if not pictures and not lines and not words:
        return ""
    return f"<h2>{escape(folder.name)}</h2><p><small>{escape(words)}</small></p>{pictures}<div>{lines}</div>"


def chosen(pictures: list[Path]) -> list[Path]:
    """At most MAX_PICTURES of each name (files are <name>-<step>.png): first, last, and evenly between."""
    groups: dict[str, list[Path]] = {}
    for path in pictures:
        groups.setdefault(path.stem.rpartition("-")[0], []).append(path)
    kept = []
    for group in groups.values():
        count = min(len(group), MAX_PICTURES)
        kept += [group[round(i * (len(group) - 1) / max(count - 1, 1))] for i in range(count)]
    return kept


def source(config: Path) -> str:
    """The whole configuration, folded."""
    if not config.exists():
        return ""
    text = escape(config.read_text(encoding="utf-8"))
    return f"<h2>configuration</h2><details><summary>config.yaml</summary><pre>{text}</pre></details>"


def _inputs(folder: Path) -> dict[str, Any]:
    config = folder / "config.yaml"
    tree = OmegaConf.to_container(OmegaConf.load(config)) if config.exists() else {}
    assert isinstance(tree, dict)
    return {key: tree.get(key) for key in ("prompt", "image", "object", "dataset", "init", "tags", "note")}


def _figure(path: Path, caption: str) -> str:
    if not path.exists():
        return ""
    data = f"data:{KINDS[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    if path.suffix == ".mp4":
        shown = f"<video src='{data}' controls autoplay loop muted></video>"
    else:
        shown = f"<img src='{data}' alt='{escape(caption)}'>"
    return f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>"


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(lines)}</table>"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
