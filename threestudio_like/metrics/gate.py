"""The gate of a view prior: what its samples, and scenes distilled from it, must show before it may be used.

(a) Samples beat a copy of the input, the mean picture and the nearest training object, by every measure and
    however far the views are apart, beyond the nearest ones.
(b) Distillation told the true poses beats the same told wrong poses, and told another object's picture.
(c) A wrong pose costs something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from threestudio_like import markdown
from threestudio_like.metrics.paired import Estimate, estimated

SAMPLE, WRONG_POSE = "sample", "wrong_pose"
RIVALS = ("copied_input", "mean_picture", "nearest_training")
MEASURES = ("psnr", "ssim", "mask_iou")
TRUE_POSES, CONTROLS = "true_poses", ("reference_only", "wrong_poses", "other_picture")
MUST_LOSE = ("wrong_poses", "other_picture")
SCENE_MEASURES = ("iou", "psnr")  # of volumes; of new views


class PairScore(NamedTuple):
    """What was guessed of one view: scores[guess][measure]."""

    name: str
    low: float  # degrees of azimuth between the views: at least, and at most
    high: float
    scores: Mapping[str, Mapping[str, float]]


class SceneScore(NamedTuple):
    """What was made of one object in all arms: scores[arm][measure]."""

    name: str
    repeat: int
    scores: Mapping[str, Mapping[str, float]]


class Rules(NamedTuple):
    """beyond: degrees from which (a) is asked. errors: standard errors that (b) must exceed, of at least so
    many objects and repeats. cost: decibels of (c)."""

    beyond: float
    errors: float
    objects: int
    repeats: int
    cost: float


def margin(rows: Iterable[Any], one: str, other: str, measure: str) -> Estimate:
    """How much higher `one` scores than `other`, in pairs."""
    return estimated((row.name, row.scores[one][measure] - row.scores[other][measure]) for row in rows)


def level(rows: Iterable[Any], one: str, measure: str) -> Estimate:
    """The score itself."""
    return estimated((row.name, row.scores[one][measure]) for row in rows)


def sampling(pairs: list[PairScore], rules: Rules) -> dict[str, Any]:
    """Part (a)."""
    buckets: dict[str, Any] = {}
    passed = True
    for low, high in sorted({(pair.low, pair.high) for pair in pairs}):
        rows = [pair for pair in pairs if (pair.low, pair.high) == (low, high)]
        means = {guess: {m: level(rows, guess, m) for m in MEASURES} for guess in rows[0].scores}
        margins = {rival: {m: margin(rows, SAMPLE, rival, m) for m in MEASURES} for rival in RIVALS}
        buckets[f"{low:g}-{high:g}"] = {"means": means, "margins": margins}
        if low >= rules.beyond:
            passed &= all(each.mean > 0 for rival in margins.values() for each in rival.values())
    passed &= any(pair.low >= rules.beyond for pair in pairs)
    return {"passed": passed, "pairs": len(pairs), "buckets": buckets}


def distillation(scenes: list[SceneScore], rules: Rules) -> dict[str, Any]:
    """Part (b), judged by the volumes; new views stand beside."""
    means = {arm: {m: level(scenes, arm, m) for m in SCENE_MEASURES} for arm in (*CONTROLS, TRUE_POSES)}
    margins = {arm: {m: margin(scenes, TRUE_POSES, arm, m) for m in SCENE_MEASURES} for arm in CONTROLS}
    names = {scene.name for scene in scenes}
    repeats = min(sum(scene.name == name for scene in scenes) for name in names)
    enough = len(names) >= rules.objects and repeats >= rules.repeats
    passed = enough and all(margins[arm]["iou"].above(0.0, rules.errors) for arm in MUST_LOSE)
    return {"passed": passed, "objects": len(names), "repeats": repeats, "means": means, "margins": margins}


def pose_cost(pairs: list[PairScore], rules: Rules) -> dict[str, Any]:
    """Part (c), over all pairs."""
    cost = margin(pairs, SAMPLE, WRONG_POSE, "psnr")
    return {"passed": cost.mean >= rules.cost, "asked": rules.cost, "decibels": cost}


def judged(pairs: list[PairScore], scenes: list[SceneScore], rules: Rules) -> dict[str, Any]:
    """The parts that there is something to say of, and whether all three were passed."""
    parts: dict[str, Any] = {}
    if pairs:
        parts |= {"a": sampling(pairs, rules), "c": pose_cost(pairs, rules)}
    if scenes:
        parts["b"] = distillation(scenes, rules)
    passed = len(parts) == 3 and all(part["passed"] for part in parts.values())
    return {"passed": passed, **dict(sorted(parts.items()))}


def lines(verdict: Mapping[str, Any]) -> list[str]:
    """Markdown: a table for each part."""
    found: list[str] = []
    if "a" in verdict:
        found += [f"(a) {said(verdict['a'])}: {verdict['a']['pairs']} pairs of held-out views", ""]
        found += sampling_table(verdict["a"]["buckets"])
    if "b" in verdict:
        b = verdict["b"]
        found += ["", f"(b) {said(b)}: {b['objects']} held-out objects, {b['repeats']} times each", ""]
        found += scene_table(b["means"], b["margins"])
    if "c" in verdict:
        c = verdict["c"]
        found += ["", f"(c) {said(c)}: a wrong pose costs {c['decibels']} dB; {c['asked']:g} asked"]
    return [*found, "", f"the gate: {said(verdict)}"]


def said(part: Mapping[str, Any]) -> str:
    """In a word."""
    return "passed" if part["passed"] else "failed"


def sampling_table(buckets: Mapping[str, Any]) -> list[str]:
    """PSNR / SSIM / mask IoU, a line for each guess."""
    guesses = list(next(iter(buckets.values()))["means"])
    head, rows = ["azimuth apart, degrees", *buckets], []
    for guess in guesses:
        means = [bucket["means"][guess] for bucket in buckets.values()]
        rows.append([guess, *(" / ".join(f"{each[m].mean:.3g}" for m in MEASURES) for each in means)])
    for rival in RIVALS:
        least = [bucket["margins"][rival] for bucket in buckets.values()]
        rows.append([f"{SAMPLE} - {rival}, dB", *(str(each["psnr"]) for each in least)])
    return markdown.table(head, rows).splitlines()


def scene_table(means: Mapping[str, Any], margins: Mapping[str, Any]) -> list[str]:
    """A line for each arm, with how much the true poses are ahead of it."""
    head, rows = ["told", "volume IoU", "new views, dB", "true poses ahead, IoU", "dB"], []
    for arm, each in means.items():
        ahead = [str(margins[arm][m]) for m in SCENE_MEASURES] if arm in margins else ["", ""]
        rows.append([arm, *(str(each[m]) for m in SCENE_MEASURES), *ahead])
    return markdown.table(head, rows).splitlines()
