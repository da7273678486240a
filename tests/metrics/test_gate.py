"""The gate's rules on made-up scores: each part passes when it should, and for each reason fails."""

import pytest

from threestudio_like.metrics.gate import PairScore, Rules, SceneScore, judged, lines

RULES = Rules(beyond=30.0, errors=2.0, objects=3, repeats=2, cost=3.0)
NAMES = ("cup", "lamp", "sofa")
GUESSES = {
    "sample": 0.8,
    "wrong_pose": 0.5,
    "copied_input": 0.6,
    "mean_picture": 0.5,
    "nearest_training": 0.7,
}
ARMS = {"true_poses": 0.6, "wrong_poses": 0.4, "other_picture": 0.3, "reference_only": 0.35}


def pairs(**changes) -> list[PairScore]:
    """Three objects, two buckets; PSNR is ten times the rest; `changes` are beyond 30 degrees."""
    found = []
    for index, name in enumerate(NAMES):
        for low, high in ((0.0, 30.0), (30.0, 90.0)):
            levels = {**GUESSES, **(changes if low else {})}
            scores = {
                guess: {"psnr": 10 * level + index, "ssim": level, "mask_iou": level}
                for guess, level in levels.items()
            }
            found.append(PairScore(name, low, high, scores))
    return found


def scenes(wobble: float = 0.01, **changes) -> list[SceneScore]:
    """Three objects, twice each; the true poses' lead differs by `wobble` from object to object."""
    return [
        SceneScore(
            name,
            repeat,
            {
                arm: {"iou": level + wobble * (index - 1) * (arm == "true_poses"), "psnr": 20 * level}
                for arm, level in {**ARMS, **changes}.items()
            },
        )
        for index, name in enumerate(NAMES)
        for repeat in range(2)
    ]


def test_it_is_passed():
    verdict = judged(pairs(), scenes(), RULES)
    assert verdict["passed"] and all(verdict[part]["passed"] for part in "abc")
    margins = verdict["a"]["buckets"]["30-90"]["margins"]
    assert margins["nearest_training"]["psnr"].mean == pytest.approx(1.0)
    assert margins["nearest_training"]["psnr"].error == pytest.approx(0.0, abs=1e-9)
    assert verdict["b"]["margins"]["wrong_poses"]["iou"].mean == pytest.approx(0.2)
    assert verdict["c"]["decibels"].mean == pytest.approx(3.0)


@pytest.mark.parametrize("rival", ["copied_input", "mean_picture", "nearest_training"])
def test_one_better_rival_fails_a(rival):
    verdict = judged(pairs(**{rival: 0.81}), scenes(), RULES)
    assert not verdict["a"]["passed"] and verdict["b"]["passed"] and not verdict["passed"]


def test_near_views_do_not_count_in_a():
    near = [pair._replace(scores={**pair.scores, "sample": pair.scores["wrong_pose"]}) for pair in pairs()]
    rows = [new if new.low < 30 else old for new, old in zip(near, pairs(), strict=True)]
    assert judged(rows, [], RULES)["a"]["passed"]
    assert not judged([row for row in rows if row.low < 30], [], RULES)["a"]["passed"]


@pytest.mark.parametrize("arm", ["wrong_poses", "other_picture"])
def test_an_arm_as_good_fails_b(arm):
    assert not judged(pairs(), scenes(**{arm: 0.6}), RULES)["b"]["passed"]


def test_reference_only_is_a_control_that_b_does_not_judge_by():
    assert judged(pairs(), scenes(reference_only=0.9), RULES)["b"]["passed"]


def test_b_needs_certainty_objects_and_repeats():
    assert not judged([], scenes(wobble=0.2), RULES)["b"]["passed"]
    assert not judged([], scenes(), RULES._replace(objects=4))["b"]["passed"]
    assert not judged([], scenes()[1:], RULES)["b"]["passed"]


def test_a_cheap_wrong_pose_fails_c():
    assert not judged(pairs(), scenes(), RULES._replace(cost=3.01))["c"]["passed"]


def test_what_was_not_asked_is_not_passed():
    assert not judged(pairs(), [], RULES)["passed"] and "b" not in judged(pairs(), [], RULES)
    assert judged([], [], RULES) == {"passed": False}


def test_the_tables_say_it():
    text = "\n".join(lines(judged(pairs(), scenes(), RULES)))
    assert "(a) passed: 6 pairs" in text and "| azimuth apart, degrees" in text and "30-90" in text
    assert "(b) passed: 3 held-out objects, 2 times each" in text
    assert "a wrong pose costs 3" in text and text.endswith("the gate: passed")
    rows = [line for line in text.splitlines() if line.startswith("| wrong_poses")]
    assert len(rows) == 1 and "0.4 " in rows[0] and "0.2 ± 0.0058" in rows[0]
