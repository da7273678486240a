"""What loggers are told of a run: any logger, added by one YAML."""

import json
from pathlib import Path
from unittest.mock import Mock

import torch

from threestudio_like.export.mesh import write_glb
from threestudio_like.records import Mesh
from threestudio_like.run import dashboards

ANNEAL = "threestudio_like.schedule.anneal"


def pages(file: Path) -> dict[str, list]:
    """What a notebook was told, by kind."""
    found: dict[str, list] = {}
    for line in file.read_text().splitlines():
        kind, *words = json.loads(line)
        found.setdefault(kind, []).append(words)
    return found


def test_a_logger_from_outside_is_one_yaml(run) -> None:
    folder = run(
        "plan=[first]",
        "stages.first.trainer.max_steps=10",
        "+loggers@stages.first.trainer.logger.notebook=notebook",
    )
    stage = pages(folder / "tiny/a-configured-prompt/first/notebook.jsonl")
    (((settings,),), numbers) = stage["settings"], stage["numbers"]
    assert settings["system"]["rate"] == 0.05 and "trainer" not in settings
    assert {(tuple(told)[0], step) for told, step in numbers} >= {("loss", 9), ("lr/0", 9)}
    whole = pages(folder / "tiny/a-configured-prompt/notebook.jsonl")  # of the run
    ((scores, step),) = whole["numbers"]
    metrics = json.loads((folder / "tiny/a-configured-prompt/metrics.json").read_text())
    assert scores["result/mean"] == metrics["mean"] and step == 0
    assert whole["settings"][0][0]["stages.first.system.rate"] == 0.05


def test_schedules_of_a_configuration() -> None:
    line = {"_target_": f"{ANNEAL}.linear", "start": 0.0, "end": 1.0, "begin": 0, "until": 10}
    stage = {
        "system": {
            "weights": {"rgb": line},  # told as weights
            "guidance": {"view": {"levels": {"high": line, "low": 0.5}}},
            "pace": {"_target_": f"{ANNEAL}.every", "value": line, "period": 2, "begin": 0, "until": 1},
            "still": {"_target_": f"{ANNEAL}.constant", "value": 2.0},
        },
        "data": {"progress": line},
    }
    found = dict(dashboards.schedules(stage, "", "stages.first"))
    assert list(found) == ["system.guidance.view.levels.high", "system.pace", "data.progress"]
    assert found["data.progress"](5) == 0.5 and found["system.pace"](5) == 0.0


def test_the_model_of_a_run(tmp_path: Path) -> None:
    """A tetrahedron with a texture, half red and half blue, from its file: y up, colours at the vertices."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    texture = torch.zeros(8, 8, 3)
    texture[:, :4, 0], texture[:, 4:, 2] = 1, 1
    uv = torch.tensor([[0.1, 0.5], [0.9, 0.5], [0.1, 0.6], [0.9, 0.6]])
    write_glb(tmp_path / "model.glb", Mesh(vertices, faces, uv=uv, uv_faces=faces, texture=texture))
    logger = Mock()
    dashboards.show_model(tmp_path / "model.glb", [logger])
    (key, file, step), told = logger.log_mesh.call_args
    assert (key, file, step) == ("model", tmp_path / "model.glb", 0)
    for x, y, z in told["vertices"][told["faces"].flatten()]:
        assert [z, x, y] in vertices.tolist()
    red = told["colors"][:, 0] > 0.5
    assert torch.equal(red, (told["vertices"][:, 1:] == 0).all(-1))  # those on the house's y axis
    dashboards.show_model(tmp_path / "nothing.glb", [logger])
    assert logger.log_mesh.call_count == 1
