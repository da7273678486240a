"""What is told of one picture: a sheet, and errors where the truth is known."""

import json
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from trainers import quiet

from systems.tell import Tell, errors
from threestudio_like.run.composition import resolved

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ["stages.cues.data.size=64", "stages.cues.data.resolution.value=32"]


@pytest.fixture
def told(tmp_path):
    """overrides -> the system after its step, and the data."""

    def run(*overrides: str):
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose("config", ["experiment=sample/cues", *SMALL, *overrides])
            stage = resolved(config)["stages"]["cues"]
        GlobalHydra.instance().clear()
        system, data = (hydra.utils.instantiate(stage[part], _convert_="all") for part in ("system", "data"))
        trainer = quiet(tmp_path)
        trainer.fit(system, datamodule=data)
        return system, data

    return run


def test_of_a_mesh_with_the_truth_below(told, tmp_path):
    system, data = told("image=null", "object=shapes/sphere")
    found = json.loads((tmp_path / "cues.json").read_text())
    assert found == system.measure(None) and found["normal_median_deg"] < found["normal_median_deg/flat"]
    assert found["depth_rmse"] < found["depth_rmse/flat"]
    with Image.open(tmp_path / "images/cues-000001.png") as sheet:
        assert sheet.size == (3 * 32 * 2, 2 * 32 * 2)
    data.cues, data.true_cues = None, True
    data.references.clear()
    true = data.reference(32)
    perfect = errors(true, true)
    assert perfect["normal_median_deg"] == pytest.approx(0, abs=1e-2)
    assert perfect["depth_rmse"] == pytest.approx(0, abs=1e-3)
    assert perfect["depth_rmse/flat"] == pytest.approx(found["depth_rmse/flat"])
    assert set(errors(true._replace(normal=None), true)) == {"depth_rmse", "depth_rmse/flat"}


def test_of_a_picture_there_is_nothing_to_compare_with(told, tmp_path):
    system, _ = told()
    assert system.measure(None) == {} and system.global_step == 1
    with Image.open(tmp_path / "images/cues-000001.png") as sheet:
        assert sheet.size == (3 * 32 * 2, 32 * 2)


def test_without_an_estimator_it_says_so(told):
    with pytest.raises(ValueError, match=r"data.cues: there are none"):
        told("stages.cues.data.cues=null")
    assert Tell(enlarged=2).found == {} and torch.is_grad_enabled()
