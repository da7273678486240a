"""The gate of a text prior: whether its samples are found by their words, and how far they are from pictures.

(a) Samples of names never trained on are found among the names, by an embedding of pictures and words, more
    often than guessing would. What true pictures get there is the most that can be asked.
(b) Their Frechet distance on `edges96` to true pictures of these names is not many times the floor: how far
    pictures of the names that were trained on are from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from threestudio_like import markdown
from threestudio_like.metrics.frechet import edges96, frechet
from threestudio_like.metrics.gate import said
from threestudio_like.metrics.paired import Estimate, estimated
from threestudio_like.metrics.similarity import retrieval

ENCODER = "edges96"
FIRSTS = (1, 5)  # accuracies: the right name is nearest, or among the nearest five
UNSEEN, SAMPLE = "unseen", "sample"


class Rules(NamedTuple):
    """errors: standard errors by which (a) must be above guessing. times: the floor, at most, in (b)."""

    errors: float
    times: float


class Accuracy(NamedTuple):
    """By how many first answers; guessing among so many names; and each name counts once."""

    names: int
    guessing: dict[int, float]
    found: dict[int, Estimate]


class Distance(NamedTuple):
    """Squared, between equally many pictures."""

    samples: float
    floor: float
    pictures: int


def accuracy(
    pictures: Float[Tensor, "N D"], prompts: list[str], names: list[str], words: Float[Tensor, "K D"]
) -> Accuracy:
    """Of embedded pictures of `prompts` (all among the names), asked for their names' embeddings."""
    right = same(prompts, names).to(pictures.device)
    firsts = [min(first, len(names)) for first in FIRSTS]
    hits = {first: retrieval(pictures, words, right, first).tolist() for first in firsts}
    found = {first: estimated(zip(prompts, each, strict=True)) for first, each in hits.items()}
    return Accuracy(len(names), {first: first / len(names) for first in firsts}, found)


def same(prompts: list[str], names: list[str]) -> Bool[Tensor, "N K"]:
    """Which prompt is which name."""
    return torch.tensor([[prompt == name for name in names] for prompt in prompts])


def distance(
    samples: Float[Tensor, "N H W 4"], truth: Float[Tensor, "N H W 4"], trained: Float[Tensor, "N H W 4"]
) -> Distance:
    """Of samples of unseen names to true pictures of these; the floor is that of pictures trained on."""
    features = edges96(truth)
    far, floor = (float(frechet(features, edges96(each))) for each in (samples, trained))
    return Distance(far, floor, len(truth))


class Verdict(NamedTuple):
    """accuracies[names][pictures]: seen or unseen, sample or true; none without an embedding."""

    passed: bool
    accuracies: Mapping[str, Mapping[str, Accuracy]]
    distance: Distance


def judged(accuracies: Mapping[str, Mapping[str, Accuracy]], far: Distance, rules: Rules) -> Verdict:
    """Both parts; without an embedding it is not passed."""
    near = far.samples <= rules.times * far.floor
    return Verdict(bool(accuracies) and near and recognised(accuracies, rules), accuracies, far)


def recognised(accuracies: Mapping[str, Mapping[str, Accuracy]], rules: Rules) -> bool:
    """Part (a), by the most answers that are counted."""
    asked = accuracies[UNSEEN][SAMPLE]
    first = max(asked.found)
    return asked.found[first].above(asked.guessing[first], rules.errors)


def lines(verdict: Verdict, rules: Rules) -> list[str]:
    """Markdown."""
    text: list[str] = []
    if verdict.accuracies:
        passed = {"passed": recognised(verdict.accuracies, rules)}
        text += [f"(a) {said(passed)}: pictures among names", "", *accuracy_table(verdict.accuracies), ""]
    else:
        text += ["(a) not asked: no embedding was given", ""]
    far = verdict.distance
    near = said({"passed": far.samples <= rules.times * far.floor})
    text.append(
        f"(b) {near}: Frechet distance on {ENCODER} (compares with itself only) to {far.pictures} pictures "
        f"of names never trained on: samples {far.samples:.3f}, those of names trained on (the floor) "
        f"{far.floor:.3f}; {rules.times:g} times it are allowed"
    )
    return [*text, "", f"the gate: {said({'passed': verdict.passed})}"]


def accuracy_table(accuracies: Mapping[str, Mapping[str, Accuracy]]) -> list[str]:
    """A line for each set of pictures."""
    firsts = next(iter(next(iter(accuracies.values())).values())).found
    head, rows = ["names", "pictures", *(f"top {first}" for first in firsts), "guessing"], []
    for kind, sets in accuracies.items():
        for pictures, each in sets.items():
            guess = " / ".join(f"{share:.3g}" for share in each.guessing.values())
            rows.append([f"{each.names} {kind}", pictures, *map(str, each.found.values()), guess])
    return markdown.table(head, rows).splitlines()


def numbers(verdict: Verdict) -> dict[str, float]:
    """Every number by its path."""
    far = verdict.distance
    found = {f"frechet_{ENCODER}/samples": far.samples, f"frechet_{ENCODER}/floor": far.floor}
    for kind, sets in verdict.accuracies.items():
        for pictures, each in sets.items():
            for first, estimate in each.found.items():
                found[f"{kind}/{pictures}/top{first}"] = estimate.mean
                if estimate.error is not None:
                    found[f"{kind}/{pictures}/top{first}/error"] = estimate.error
                found[f"{kind}/guessing/top{first}"] = each.guessing[first]
    return {**found, "passed": float(verdict.passed)}
