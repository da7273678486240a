"""The gate of text priors: an oracle that draws what it is told, and one that does not listen."""

import json

import pytest
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader
from trainers import quiet

from systems.denoise import Evaluation
from systems.text_gate import TextGate, limited
from threestudio_like.guidance.cfg import CFG
from threestudio_like.metrics.text_gate import Rules
from threestudio_like.ops.camera import repeated
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.priors.embedding import Embedding
from threestudio_like.records import Example, View
from threestudio_like.schedule.samplers import ddim
from threestudio_like.schedule.vp import VP, cosine

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1), "black": (0, 0, 0)}
COLOURS |= {"yellow": (1, 1, 0), "pink": (1, 0, 1), "sky": (0, 1, 1), "navy": (0.2, 0.2, 0.5)}


class Painter(Prior):
    """Knows colours by name, if it listens."""

    def __init__(self, listens: bool) -> None:
        super().__init__()
        self.schedule, self.shape, self.listens = VP(betas=cosine(100, 0.008)), (4, 16, 16), listens

    def encode(self, image):
        return image.permute(0, 3, 1, 2) * 2 - 1

    def decode(self, x):
        return ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)

    def condition(self, prompts, camera, reference):
        assert reference is None and len(camera.c2w) == len(prompts)
        names = prompts if self.listens else ["navy"] * len(prompts)
        return Condition(vector=torch.tensor([[*COLOURS[name], 1.0] for name in names]))

    def predict(self, x_t, t, condition):
        flat = condition.vector[..., None, None].expand_as(x_t) * 2 - 1
        return self.schedule.eps_from_x0(x_t, flat, t)


class Eye(Embedding):
    """An embedding of colours."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def pictures(self, image):
        return torch.nn.functional.normalize(image[..., :3].mean((1, 2)) - 0.4, dim=-1)

    def words(self, prompts):
        return torch.nn.functional.normalize(torch.tensor([COLOURS[p] for p in prompts]) - 0.4, dim=-1)


class Given(LightningDataModule):
    def __init__(self, seen: Example, kept: list[Example]) -> None:
        super().__init__()
        self.seen, self.kept = seen, kept

    def train_dataloader(self) -> DataLoader:
        return DataLoader([self.seen], batch_size=None)

    def validation_examples(self) -> list[Example]:
        return self.kept


def example(names, examples) -> Example:
    count = len(names)
    camera = repeated(examples(1)[0].target.camera, count)
    rgb = torch.tensor([COLOURS[name] for name in names], dtype=torch.float32)[:, None, None]
    return Example(0, list(names), View(camera, rgb.repeat(1, 16, 16, 1), torch.ones(count, 16, 16, 1)), None)


@pytest.fixture
def judged(examples, tmp_path):
    """What the gate finds of a painter."""

    def run(listens: bool, embedding=None, kept=None) -> tuple[TextGate, dict]:
        def sampler(eps, x_t, levels, schedule):
            return ddim(eps, x_t, levels, schedule, eta=0.0, clip=(-1.0, 1.0))

        system = TextGate(
            prior=Painter(listens),
            embedding=embedding,
            evaluation=Evaluation(3, sampler, CFG(form="standard", scale=1.0), {"weights": "none"}),
            rules=Rules(errors=2.0, times=3.0),
            shown=7,
            batch=4,
            seed=0,
        )
        seen = example(["yellow", "pink", "sky", "yellow", "red"] * 2, examples)
        kept = [example([*COLOURS, "red"], examples)] if kept is None else kept
        trainer = quiet(tmp_path / "gate", limit_val_batches=0)
        trainer.fit(system, datamodule=Given(seen, kept))
        return system, json.loads((tmp_path / "gate/gate.json").read_text())

    return run


def test_one_that_listens_passes(judged, tmp_path):
    system, found = judged(True, Eye())
    assert found["unseen/sample/top1"] == found["unseen/true/top1"] == found["seen/sample/top1"] == 1.0
    assert found["unseen/guessing/top1"] == pytest.approx(1 / 9)
    assert found["frechet_edges96/samples"] == pytest.approx(0, abs=1e-5) and found["passed"] == 1.0
    assert found["shown"] == list(COLOURS)[:7] and found["weights"] == "none"
    assert system.measure(None)["passed"] == 1.0 and not system.state_dict()
    assert (tmp_path / "gate/images/unseen_names-000001.png").exists()


def test_one_that_does_not_listen_fails_however_near_it_is(judged):
    found = judged(False, Eye())[1]
    assert found["unseen/sample/top1"] == pytest.approx(1 / 9) and found["passed"] == 0.0


def test_without_an_embedding_only_the_distance_is_told(judged):
    found = judged(True)[1]
    assert found["passed"] == 0.0 and "unseen/sample/top1" not in found and "frechet_edges96/floor" in found


def test_a_split_that_holds_nothing_out_is_refused(judged):
    with pytest.raises(ValueError, match="no name is held out"):
        judged(True, kept=[])


def test_as_many_names_on_both_sides(examples):
    some = limited(example(["red", "blue", "red", "pink", "blue"], examples), 2)
    assert some.prompts == ["red", "blue", "red", "blue"] and len(some.target.camera.c2w) == 4
    assert some.target.rgb[3, 0, 0].tolist() == [0, 0, 1]
