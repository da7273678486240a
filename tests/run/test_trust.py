"""What a stranger's YAML may name, and what is not even imported."""

import sys
from pathlib import Path

import pytest

from threestudio_like.run.errors import UserError
from threestudio_like.run.trust import check_loaded, named

DOERS = [
    "torch.load",
    "threestudio_like.run.folder.git",
    "threestudio_like.run.folder.RunFolder",
    "threestudio_like.files.write",
    "diffusers.UNet2DModel.from_config",
    "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler",
    "numpy.memmap",
    "numpy.f2py.__main__.main",
    "os.system",
]


@pytest.mark.parametrize("path", DOERS)
@pytest.mark.parametrize("inside", [lambda part: part, lambda part: {"_args_": [{"a": part}]}])
def test_what_does_things_is_refused_wherever_it_stands(path: str, inside) -> None:
    with pytest.raises(UserError, match=r"_target_: "):
        check_loaded({"score": inside({"_target_": path})}, "a")


def test_nothing_foreign_is_imported_to_look_at_it() -> None:
    assert "antigravity" not in sys.modules and "wandb.__main__" not in sys.modules
    for path in ("wandb.__main__.cli", "wandb.cli.cli.cli"):
        with pytest.raises(UserError, match="is nothing that a run is built of"):
            check_loaded({"_target_": path}, "a")
    assert "wandb.__main__" not in sys.modules


def test_what_runs_are_built_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_parts.py").write_text("def made():\n    return 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    known = ["torch.nn.Linear", "torch.optim.SGD", "threestudio_like.schedule.anneal.constant"]
    known += [
        "pytorch_lightning.callbacks.EarlyStopping",
        "threestudio_like.geometry.sdf.SDF",
        "my_own_parts.made",
    ]
    check_loaded([{"_target_": path, "inner": None} for path in [*known, *named()]], "a")


def test_a_folder_of_runs_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`outputs` beside launch.py can be imported, with whatever a stranger put there."""
    folder = tmp_path / "some_outputs" / "strange"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="is nothing that a run is built of"):
        check_loaded({"_target_": "some_outputs.strange.evil.Part"}, "a")
    (tmp_path / "own_parts").mkdir()  # beside it a folder of the user's, also without __init__.py
    (tmp_path / "own_parts" / "mat.py").write_text("def made():\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    check_loaded({"_target_": "own_parts.mat.made"}, "a")
