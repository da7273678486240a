"""Training of the embedding, as its YAML wires it: it learns who belongs to whom."""

from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from systems.embedding import same

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ["size=16", "widths=[8,16]", "channels=16", "text.buckets=256"]


@pytest.fixture
def system():
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = [f"system.prior.{setting}" for setting in SMALL]
        config = hydra.compose(overrides=["+seed=0", "+systems@system=embedding", *settings])
        torch.manual_seed(0)
        node = hydra.utils.instantiate(config.system, _convert_="all")
    GlobalHydra.instance().clear()
    return node


def test_pictures_find_their_words_and_other_views(system, examples, fitted):
    batch = examples(1)[0]
    view = batch.target  # plain colours; the other view is nearly the same
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    plain = view._replace(rgb=colors[:, None, None].expand(4, 16, 16, 3), alpha=torch.ones_like(view.alpha))
    other = plain._replace(rgb=0.9 * plain.rgb + 0.05)
    batch = batch._replace(target=plain, reference=other)
    seen = fitted(system, lambda step: batch._replace(step=step), 60)
    assert seen[-1]["words"] < 0.3 * seen[0]["words"] and seen[-1]["views"] < seen[0]["views"]
    system.averaged.load_state_dict(system.prior.state_dict())
    scores = system.score(batch)
    assert scores["picture_to_words_top1"] == scores["words_to_picture_top1"] == 1
    assert scores["view_to_view_top1"] == 1
    assert scores["of"] == 4 and scores["guessing_top1"] == pytest.approx(0.25)


def test_equal_captions():
    alike = same(["cup", "chair", "cup"])
    assert alike.tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_the_sheet_has_a_row_of_each_caption(system, examples):
    with torch.no_grad():
        sheet = system.pictures(examples(1)[0])["retrieved"]
    assert sheet.shape == (4 * 16, 5 * 16, 3)
