"""Embeddings are made once, kept under what made them, and mixed as the cameras' words say."""

import weakref

import pytest
import torch

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.prompts import Prompts, Spoken
from threestudio_like.priors.words import Perpendicular, Words

ANGLES = {"form": "{prompt}, {view} view", "front": 45, "back": 45, "overhead": 60}


@pytest.fixture
def maker(tmp_path):
    """(precision, size) -> prompts whose encoder says a text's length, and the calls it got."""
    calls: list[list[str]] = []
    home = tmp_path / "text_encoder"
    home.mkdir()
    (home / "config.json").write_text("{}")

    def load():
        def encode(texts):
            calls.append(texts)
            return [{"tokens": torch.full((2, 3), float(len(text)))} for text in texts]

        return encode

    def make(precision: str = "float32", size: int | None = None) -> Prompts:
        folder = str(tmp_path / "cache")
        return Prompts(load=load, maker=[home], precision=precision, size=size, folder=folder)

    return make, calls, home


def camera(*azimuth: float):
    a, ones = torch.tensor(azimuth).deg2rad(), torch.ones(len(azimuth))
    return orbit(azimuth=a, elevation=0 * ones, distance=ones, fov_y=ones, height=1, width=1)


def test_the_encoder_is_asked_once_for_all_runs(maker):
    make, calls, _ = maker
    first = make()(["a cup", "a", "a cup"])
    assert calls == [["a cup", "a"]] and first[2]["tokens"][0, 0] == 5
    again = make()(["a", "a hat"])  # another run
    assert calls == [["a cup", "a"], ["a hat"]] and torch.equal(again[0]["tokens"], first[1]["tokens"])


def test_the_encoder_is_gone_when_it_has_been_asked(tmp_path):
    alive = []

    class Encoder:
        def __call__(self, texts):
            return [{"tokens": torch.ones(2, 3)} for _ in texts]

    def load():
        encoder = Encoder()
        encoder.itself = encoder  # as large networks often are: held by a cycle
        alive.append(weakref.ref(encoder))
        return encoder

    (tmp_path / "text_encoder").mkdir()
    prompts = Prompts(
        load=load, maker=[tmp_path], precision="float32", size=None, folder=str(tmp_path / "cache")
    )
    prompts(["a cup"])
    assert len(alive) == 1 and alive[0]() is None


def test_another_encoder_precision_or_size_is_asked_anew(maker):
    make, calls, home = maker
    make()(["a"])
    make("bfloat16")(["a"])
    make(size=512)(["a"])
    (home / "config.json").write_text('{"new": 1}')
    make()(["a"])
    assert calls == [["a"]] * 4


def test_all_words_of_a_prompt_are_asked_for_together(maker):
    make, calls, _ = maker
    spoken = Spoken(prompts=make(), words=Words(**ANGLES), negative="blurry")
    told = spoken.condition(["a cup", "a cup"], camera(0, 180))
    spoken.condition(["a cup"], camera(90))
    assert len(calls) == 1 and len(calls[0]) == 5 and "blurry" in calls[0]
    assert told.tokens.shape == (2, 2, 3) and told.tokens[:, 0, 0].tolist() == [17, 16]
    null = spoken.null(told)
    assert (null.tokens == len("blurry")).all() and null.tokens.shape == told.tokens.shape


def test_no_words_is_the_prompt_itself(maker):
    spoken = Spoken(prompts=maker[0](), words=None, negative="")
    assert (spoken.condition(["cup"], camera(0)).tokens == 3).all()


def test_perpendicular_words_are_mixed_and_their_pushes_told(maker):
    spoken = Spoken(prompts=maker[0](), words=Perpendicular(**ANGLES), negative="")
    told = spoken.condition(["a"], camera(135))
    side, back, front = (len(f"a, {view} view") for view in ("side", "back", "front"))
    torch.testing.assert_close(told.tokens, torch.full((1, 2, 3), 0.5 * side + 0.5 * back))
    assert told.negatives.shape == (1, 2, 2, 3) and told.negatives[0, :, 0, 0].tolist() == [side, front]
    torch.testing.assert_close(told.pushes, torch.tensor([[0.1728, 1.7458]]), rtol=0, atol=1e-4)
