"""Wrong settings, by hand and at random: each is one line that names its key, before anything is built."""

import copy
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import launch
from threestudio_like.run.composition import resolved
from threestudio_like.run.errors import UserError
from threestudio_like.run.plan import check_plan
from threestudio_like.run.session import choose_ops
from threestudio_like.run.signatures import is_part
from threestudio_like.run.stages import check_parts

ROOT = Path(__file__).parents[1]
GONE = type("Gone", (), {"__repr__": lambda self: "GONE"})()
N, C = "stages.neus", "stages.coarse"
COUNT, SHARE = "expected a whole number from 1 to 2147483647, got", "expected a number from 0 to 1, got"
LOW_HIGH = "expected [low, high], each from -90 to 90, got"
SIDE, CELLS = "expected a whole number from 1 to 16384, got", "expected a whole number from 1 to 1024, got"

# full key (its first stage says which tree) -> value -> how the line goes on after the key
VALUES: list[tuple[str, Any, str]] = [
    ("seed", -1, "expected a whole number from 0"),
    ("seed", 1.5, "expected a whole number from 0"),
    ("seed", True, "expected a whole number from 0"),
    ("seed", 10**4000, "expected a whole number from 0 to 4294967295, got 1000"),
    ("plan", "neus", "expected a list, got 'neus'; write plan=[neus]"),
    ("plan", ["neuss"], "no stage 'neuss'; did you mean 'neus'?"),
    ("plan", ["neus", "neus"], "names a stage twice"),
    ("plan", [], "names no stage"),
    ("plan", {"neus": 1}, "expected a list"),
    ("plan", 3, "expected a list, got 3"),
    ("stages", {}, "nothing to run"),
    ("stages", [1], "nothing to run"),
    (N, None, "has no system and no data and no trainer"),
    (N, [1], "has no system and no data and no trainer"),
    (f"{N}.extra", 1, "a stage has no such part"),
    (f"{N}.system", "fit", "has no system"),
    (f"{N}.data", GONE, "has no data"),
    ("ops.backend", 3, "expected str, got 3"),
    ("ops.backend", "nuba", "no backend 'nuba'"),
    ("ops.bakend", "numba", "use has no such setting; did you mean 'backend'?"),
    # pictures and their cameras
    (f"{N}.data.size", 0, f"{SIDE} 0"),
    (f"{N}.data.size", -128, f"{SIDE} -128"),
    (f"{N}.data.size", 10**12, f"{SIDE} 1000000000000"),
    (f"{N}.data.size", "128", f'{SIDE} "128"'),
    (f"{N}.data.size", 128.0, f"{SIDE} 128.0"),
    (f"{N}.data.size", [128], f"{SIDE} [128]"),
    (f"{N}.data.size", None, f"{SIDE} null"),
    (f"{N}.data.size", True, f"{SIDE} true"),
    (f"{N}.data.size", math.nan, f"{SIDE} NaN"),
    (f"{N}.data.sise", 128, "PosedViews has no such setting; did you mean 'size'?"),
    (f"{N}.data.size", GONE, "required by PosedViews, not set"),
    (f"{N}.data.size", "???", "required by PosedViews, not set"),
    (f"{N}.data.batch_size", 0, f"{COUNT} 0"),
    (f"{N}.data.window", -1, "expected a whole number from 1 to 2147483647 or null, got -1"),
    (f"{N}.data.focus", 1.5, f"{SHARE} 1.5"),
    (f"{N}.data.focus", "", f'{SHARE} ""'),
    (f"{N}.data.seed", -1, "expected a whole number from 0 to 4294967295, got -1"),
    (f"{N}.data.object", 3, "expected str or null, got 3"),
    (f"{N}.data.cameras", "cameras", 'expected a part (Cameras), got "cameras"; to swap a part write'),
    (f"{N}.data.cameras", 3, "expected Cameras, got 3"),
    (f"{N}.data.cameras", {"train": 1}, 'expected Cameras, got {"train": 1}'),
    (f"{N}.data.cameras.train", 0, f"{COUNT} 0"),
    (f"{N}.data.cameras.elevation", [80.0, -80.0], f"{LOW_HIGH} [80.0, -80.0]"),
    (f"{N}.data.cameras.elevation", [-80.0, 91.0], f"{LOW_HIGH} [-80.0, 91.0]"),
    (f"{N}.data.cameras.elevation", [0.0], f"{LOW_HIGH} [0.0]"),
    (f"{N}.data.cameras.elevation", 30.0, f"{LOW_HIGH} 30.0"),
    (f"{N}.data.cameras.elevation", [0.0, math.nan], f"{LOW_HIGH} [0.0, NaN]"),
    (f"{N}.data.cameras.distance", 0, "expected a number above 0, got 0"),
    (f"{N}.data.cameras.distance", math.inf, "expected a number above 0, got Infinity"),
    (f"{N}.data.cameras.fov_y", 180, "expected a number between 0 and 180, got 180"),
    (f"{N}.data.pose.elevation", -91.0, "expected a number from -90 to 90, got -91.0"),
    (f"{N}.data.light.direction", [0, 0, 0], "expected 3 numbers that are not all 0"),
    (f"{N}.data.light.direction", [1.0, 0.0], "expected 3 numbers that are not all 0"),
    (f"{N}.data.light.ambient", -0.1, "expected a number of at least 0, got -0.1"),
    (f"{C}.data.cameras.distance", [2.0, 1.0], "expected [low, high], each above 0, got [2.0, 1.0]"),
    (f"{C}.data.cameras.distance", [0.0, 1.0], "expected [low, high], each above 0, got [0.0, 1.0]"),
    (f"{C}.data.cameras.azimuth", [180.0, -180.0], "expected [low, high], got"),
    (f"{C}.data.cameras.uniform_share", 1.01, f"{SHARE} 1.01"),
    (f"{C}.data.cameras.batch_size", 0, f"{COUNT} 0"),
    (f"{C}.data.cameras.progressive_until", -5, "expected a whole number from 0"),
    (f"{C}.data.share", -0.5, f"{SHARE} -0.5"),
    (f"{C}.data.within", 0, "expected a number between 0 and 1, got 0"),
    (f"{C}.data.threshold", 2, f"{SHARE} 2"),
    (f"{C}.data.max_pixels", 0, f"{COUNT} 0"),
    (f"{C}.data.true_cues", "yes", 'expected bool, got "yes"'),
    (f"{C}.data.resolution.value", math.nan, "expected a finite number, got NaN"),
    (
        f"{C}.data.resolution",
        64,
        f"expected a part with settings of its own, got 64; write {C}.data.resolution.value=64",
    ),
    (f"{C}.data.resolution", "big", 'expected a part, got "big"'),
    (f"{C}.data.matting", "matting", 'expected a part, got "matting"'),
    (f"{C}.data.matting.confidence", 7, f"{SHARE} 7"),
    # networks, fields and renderers
    (f"{N}.system.scene", None, "expected Scene, got null"),
    (f"{N}.system.scene.geometry", GONE, "required by Scene, not set"),
    (f"{N}.system.scene.geometri", 1, "Scene has no such setting; did you mean 'geometry'?"),
    (f"{N}.system.scene.geometry", 0.5, "expected Module, got 0.5"),
    (f"{N}.system.scene.geometry", "sdf", "expected a part (Module), got"),
    (f"{N}.system.scene.geometry._target_", "threestudio_like.geometry.sdf.SFD", "no class"),
    (f"{N}.system.scene.geometry._target_", "threestudio_like.geometri.sdf.SDF", "no class"),
    (f"{N}.system.scene.geometry._target_", "os.system", "'os.system' is Python's own, and no part"),
    (f"{N}.system.scene.geometry._target_", "builtins.eval", "'builtins.eval' is Python's own"),
    (f"{N}.system.scene.geometry._target_", "subprocess.Popen", "'subprocess.Popen' is Python's own"),
    (f"{N}.system.scene.geometry._target_", "torch.os.system", "'torch.os.system' is Python's own"),
    (f"{N}.system.scene.geometry._target_", "antigravity.geohash", "'antigravity.geohash' is Python's own"),
    (f"{N}.system.scene.geometry._target_", "../../etc/passwd", "not a dotted path: '../../etc/passwd'"),
    (f"{N}.system.scene.geometry._target_", "", "not a dotted path"),
    (f"{N}.system.scene.geometry._target_", None, "expected a dotted path, got None"),
    (f"{N}.system.scene.geometry._target_", "torch", "'torch' is not a class or a function"),
    (f"{N}.system.scene.geometry._partial_", True, ""),
    (f"{N}.system.scene.geometry._args_", [1], "SDF takes its settings by name"),
    (f"{N}.system.scene.geometry.radius", 0.0, "expected a number above 0, got 0.0"),
    (f"{N}.system.scene.geometry.radius", -1, "expected a number above 0, got -1"),
    (f"{N}.system.scene.geometry.num_features", 0, f"{COUNT} 0"),
    (f"{N}.system.scene.geometry.epsilon", 0, "expected a number above 0, got 0"),
    (f"{N}.system.scene.geometry.min_component", 3, f"{SHARE} 3"),
    (f"{N}.system.scene.geometry.encoding.log2_table", 60, "expected a whole number from 1 to 28, got 60"),
    (f"{N}.system.scene.geometry.encoding.num_levels", 0, f"{COUNT} 0"),
    (f"{N}.system.scene.background.rgb", "white", "expected"),
    (f"{N}.system.scene.background.rgb", [1.0, "a", 1.0], "expected"),
    (f"{N}.system.renderer.num_coarse", 0, f"{COUNT} 0"),
    (f"{N}.system.renderer.chunk", -1, f"{COUNT} -1"),
    (f"{N}.system.renderer.lattice", 10**6, f"{CELLS} 1000000"),
    (f"{N}.system.renderer.variance", -math.inf, "expected a number above 0, got -Infinity"),
    (f"{N}.system.draw_every", 0, f"{COUNT} 0"),
    (f"{N}.system.hull", 1, "expected bool, got 1"),
    (f"{N}.system.pace.until", "400", 'expected int, got "400"'),
    (f"{N}.system.weights", 3, "expected"),
    (f"{N}.system.weights.rgb", "much", "expected"),
    (f"{N}.system.weights.rgb", math.inf, "expected a finite number, got Infinity"),
    (f"{N}.system.weights.rgbb", 1.0, "no such loss; did you mean 'rgb'?"),
    (f"{N}.system.weights.rgb", GONE, "missing; the loss needs a weight"),
    (f"{N}.system.optimization.learning_rates.renderer", -0.1, ""),
    (f"{N}.system.optimization.learning_rates.rendere", 0.1, "the system has no part 'rendere'"),
    (f"{N}.system.optimization.optimizer._target_", "torch.optim.Adamm", "no class 'torch.optim.Adamm'"),
    (f"{N}.system.optimization.optimizer.beta", 1, "Adam has no such setting; did you mean 'betas'?"),
    (f"{C}.system.prompt", ["a cup"], 'expected str, got ["a cup"]'),
    (f"{C}.system.prompt", GONE, "required by Coarse, not set"),
    (f"{C}.system.guidance", None, "expected"),
    (f"{C}.system.guidance.image.levels.low", 1.2, ""),
    (f"{C}.system.guidance.image.levels.low", "low", ""),
    (f"{C}.system.guidance.image.cfg.scale", "3,5", "expected int or float, got"),
    (f"{C}.system.guidance.image.cfg.scale", math.nan, "expected a finite number, got NaN"),
    (f"{C}.system.guidance.image.prior", "zero123", ""),
    (f"{C}.system.guidance.image.prior.dropout", 1.1, f"{SHARE} 1.1"),
    (f"{C}.system.guidance.view.prior.dropout", 0.5, "expected a number from 0 to 0.333333, got 0.5"),
    (f"{C}.system.guidance.image.prior.denoiser.widths", 64, "expected"),
    (f"{C}.system.guidance.image.prior.denoiser.widths", [64, 0], "expected"),
    (f"{C}.system.guidance.image.prior.denoiser.widths", [64, "b"], "expected"),
    (f"{C}.system.guidance.image.prior.denoiser.blocks", 0, f"{COUNT} 0"),
    (f"{C}.system.guidance.image.prior.text.length", -3, f"{COUNT} -3"),
    # the trainer
    (f"{N}.trainer.max_steps", -1, f"{COUNT} -1"),
    (f"{N}.trainer.max_steps", 0, f"{COUNT} 0"),
    (f"{N}.trainer.max_steps", "many", 'expected int, got "many"'),
    (f"{N}.trainer.max_stepz", 3, "Trainer has no such setting; did you mean 'max_steps'?"),
    (f"{N}.trainer.log_every_n_steps", -1, "expected a whole number from 0"),
    (f"{N}.trainer.accumulate_grad_batches", 0, f"{COUNT} 0"),
    (f"{N}.trainer.callbacks.bar", 3, "expected a part, got 3"),
    (f"{N}.trainer.callbacks.bar.lines", 0, f"{COUNT} 0"),
    (f"{N}.trainer.callbacks.checkpoints.every", 0, f"{COUNT} 0"),
    (f"{N}.trainer.logger.tables._target_", "threestudio_like.loggers.tables.Line", "no class"),
    (f"{N}.trainer.deterministic", "sometimes", "expected"),
    (f"{N}.trainer._target_", "torch.nn.Linear", "trainer: expected Trainer, got a Linear"),
    (f"{N}.system._target_", "threestudio_like.scene.Scene", "Scene has no such setting"),
    (f"{N}.trainer.logger", "wandb", "expected names and their parts, got 'wandb'"),
    # what follows the stages
    ("export", "model", "expected a part, or null, got 'model'"),
    ("export", 3, "expected a part, or null, got 3"),
    ("export.formats", ["glb", "fbx"], "cannot write 'fbx'; choose of glb, obj, ply"),
    ("export.formats", [], "none; choose of glb, obj, ply"),
    ("export.formats", "glb", "expected"),
    ("export.resolution", 0, f"{CELLS} 0"),
    ("export.resolution", 10**5, f"{CELLS} 100000"),
    ("export.side", 255, "a video's side must be even, not 255"),
    ("export.texture.size", -1, f"{SIDE} -1"),
    ("export.texture.sharpness", -4.0, "expected a number of at least 0 or null, got -4.0"),
    ("export.texture", GONE, "required by Model, not set"),
    ("score.views", 0, f"{COUNT} 0"),
    ("score.point", 3, "Score has no such setting; did you mean 'points'?"),
    ("report", [1], "expected a part, or null"),
]
IDS = [f"{key}={str(value)[:30]}" for key, value, _ in VALUES]


@pytest.fixture(scope="module")
def trees() -> dict[str, dict[str, Any]]:
    """Two experiments as they would run, by the stage that names them."""
    GlobalHydra.instance().clear()
    names, found = {"neus": "fit/neus", "coarse": "dreamcraft3d/small"}, {}
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for stage, name in names.items():
            tree = resolved(hydra.compose("config", overrides=[f"experiment={name}"]))  # type: ignore[arg-type]
            found[stage] = {**tree, "plan": None, "stages": {stage: tree["stages"][stage]}}
            check_parts(found[stage])  # as they are they would run; and what they import is imported
    return found


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No network is built on the way to a mistake, and the folder stays as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nn.Module, "__init__", lambda *_, **__: pytest.fail("a network is built"))
    yield
    assert not [path for path in tmp_path.iterdir() if path.name != "configs"]


def changed(tree: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with one key set, or gone; a learning rate's name may hold dots."""
    copied = copy.deepcopy(tree)
    *path, last = key.split(".")
    node: Any = copied
    for name in path:
        node = node[name]
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    return copied


def line_for(tree: dict[str, Any]) -> str:
    """What a run of the tree is refused with."""
    with pytest.raises(UserError) as caught:
        check_plan(tree)
        choose_ops(tree)
        check_parts(tree)
    line = str(caught.value)
    assert "\n" not in line and 0 < len(line) < 400
    return line


@pytest.mark.parametrize(("key", "value", "line"), VALUES, ids=IDS)
def test_a_wrong_value_is_named_by_its_key(trees, key: str, value: Any, line: str) -> None:
    said = line_for(changed(trees["coarse" if key.startswith(C) else "neus"], key, value))
    assert said.startswith(key.partition("._")[0].removesuffix(".system").removesuffix(".data")), said
    assert line in said


def nodes(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every part of our own in a tree, with its full key."""
    if isinstance(tree, dict):
        if is_part(tree) and tree["_target_"].startswith(("threestudio_like.", "systems.")):
            yield key, tree
        for name, value in tree.items():
            yield from nodes(value, f"{key}.{name}" if key else name)


def leaves(tree: Any, kind: Callable[[Any], bool]) -> list[str]:
    """Keys of our parts' own settings that are of a kind."""
    return [f"{key}.{n}" for key, part in nodes(tree) for n, v in part.items() if n[0] != "_" and kind(v)]


LETTERS = "abcdefghijklmnopqrstuvwxyz_"
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
WRONG = st.one_of(
    st.text(), st.lists(st.integers()), st.just(math.nan), st.just(-math.inf), st.just({"a": 1})
)


def typed_wrong(trees: dict[str, Any], data: st.DataObject) -> None:
    tree = trees[data.draw(st.sampled_from(["neus", "coarse"]))]
    key = data.draw(st.sampled_from(leaves(tree, lambda value: type(value) in (int, float))))
    assert line_for(changed(tree, key, data.draw(WRONG))).startswith(f"{key}: expected ")


def named_wrong(trees: dict[str, Any], data: st.DataObject) -> None:
    tree = trees[data.draw(st.sampled_from(["neus", "coarse"]))]
    key = data.draw(st.sampled_from([k for k in leaves(tree, lambda _: True) if len(k.split(".")[-1]) > 3]))
    home, _, name = key.rpartition(".")
    place, letter = data.draw(st.integers(0, len(name) - 1)), data.draw(st.sampled_from(LETTERS))
    typo = data.draw(
        st.sampled_from([name[:place] + letter + name[place:], name[:place] + letter + name[place + 1 :]])
    )
    names = dict(nodes(tree))[home]
    if typo not in names and typo not in ("loggers", "report"):
        said = line_for(changed(tree, f"{home}.{typo}", 3))
        assert said.startswith(f"{home}.{typo}: ") and "no such setting; did you mean '" in said


@QUICK
@given(data=st.data())
def test_any_wrong_kind_of_value(trees, data: st.DataObject) -> None:
    typed_wrong(trees, data)


@QUICK
@given(data=st.data())
def test_any_typo(trees, data: st.DataObject) -> None:
    named_wrong(trees, data)


@pytest.mark.slow
@LONG
@given(data=st.data())
def test_many_wrong_values_and_typos(trees, data: st.DataObject) -> None:
    typed_wrong(trees, data)
    named_wrong(trees, data)


HEAD = "# @package _global_\ndefaults: [/experiment/fit/neus, _self_]\n"
# a user's own YAML -> the line, in which FILE stands for its path
FILES = {
    "tab": (HEAD + "stages:\n\tneus: 1\n", "FILE: line 4, column 1: found character '\\t'"),
    "duplicate": (HEAD + "seed: 1\nseed: 2\n", "FILE: line 4, column 1: found duplicate key seed"),
    "unclosed": (HEAD + "seed: [1\n", "FILE: line 4, column 1: expected ',' or ']'"),
    "alias": (HEAD + "seed: *one\n", "FILE: line 3, column 7: found undefined alias 'one'"),
    "python": (HEAD + "seed: !!python/object/apply:os.mkdir [made]\n", "FILE: line 3, column 7: could not"),
    "latin": (HEAD.encode() + b"prompt: caf\xe9\n", "FILE: expected UTF-8 (invalid continuation byte"),
    "control": (HEAD.encode() + b"prompt: a\x01b\n", "FILE: character "),
    "circle": ("# @package _global_\ndefaults: [/experiment/circle, _self_]\n", "the defaults lists of the"),
    "defaults": ("# @package _global_\ndefaults: 3\n", "Invalid defaults list in 'experiment/defaults'"),
    "option": (
        HEAD.replace("fit/neus", "fit/neuss"),
        "configs/experiment/option.yaml: experiment: no option",
    ),
    "cyclic": (HEAD + "name: ${prompt}\nprompt: ${name}\n", "Recursive interpolation detected"),
    "nowhere": (HEAD + "name: ${nope}\n", "name: Interpolation key 'nope' not found"),
    "resolver": (HEAD + "name: ${nope:1}\n", "name: Unsupported interpolation type nope"),
    "broken": (HEAD + "name: ${nope\n", "name"),
    "empty": ("", "experiment: its YAML is empty, or does not begin with"),
    "number": (HEAD + "prompt: 3\n", "prompt: expected a text, got 3"),
    "root": (HEAD + "promt: a cup\n", "promt: nothing reads this key; did you mean 'prompt'?"),
    "stage": (HEAD + "stages: {neuss: {trainer: {max_steps: 3}}}\n", "stages.neuss: has no system"),
    "list": ("- 1\n", "FILE: expected keys and their values, got [1]"),
    "key": (HEAD + "stages: {neus: {data: {sise: 3}}}\n", "stages.neus.data.sise: PosedViews has no such"),
}
WORDS = {
    "seеd=3": "cannot read 'seеd=3'; write key=value",  # the second e is Cyrillic
    "stages.neus.data.sise=3": "stages.neus.data.sise: no such key; did you mean 'size'?",
    "stages.neus.data.size=1e400": f"stages.neus.data.size: {SIDE} Infinity",
    "stages.neus.data.size=": f'stages.neus.data.size: {SIDE} ""',
    "stages.neus.data.size='a\nb'": f'stages.neus.data.size: {SIDE} "a\\nb"',
    "stages.neus.data.size=${stages.neus.data.size}": "Recursive interpolation detected",
    "geometri@stages.neus.system.scene.geometry=sdf": "geometri@stages.neus.system.scene.geometry=sdf looks",
    "geometry@stages.neus.system.scene.geometry=sfd": "geometry: no option 'sfd'; did you mean 'sdf'?",
    "plan={neus:1}": "plan: expected a list, got {'neus': 1}; write plan=[neus]",
    "object=shapes/torsu": "object: shapes: no 'torsu'; did you mean 'torus'?",
    "stages=[]": "stages: [] cannot take the place of what is there",
    "prompt=\udcff": "prompt: expected UTF-8, got '\\udcff'",
    "~prompt": "prompt: cannot be left out",
    "prompt=???": "prompt: '???' stands for what is missing; write something else",
    "~score=score": "~score: expected no value, or the one that is there",
    "+stages.neus.data._partial_=true": "stages.neus.data: expected LightningDataModule, got a PosedViews",
}
CASES = [*IDS, *FILES, *WORDS]


def told(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that the command ends with, and exit code 2."""
    monkeypatch.setattr(sys, "argv", ["launch.py", *words])
    with pytest.raises(SystemExit) as stopped:
        launch.main()
    GlobalHydra.instance().clear()
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize("name", FILES)
def test_a_users_own_yaml(name: str, tmp_path: Path, monkeypatch, capsys) -> None:
    content, line = FILES[name]
    file = tmp_path / "configs" / "experiment" / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content if isinstance(content, bytes) else dedent(content).encode())
    said = told([f"experiment={name}", "--config-dir", str(tmp_path / "configs")], monkeypatch, capsys)
    assert line.replace("FILE", str(file)) in said


@pytest.mark.parametrize("word", WORDS)
def test_the_command_line(word: str, monkeypatch, capsys) -> None:
    assert WORDS[word] in told(["experiment=fit/neus", word], monkeypatch, capsys)


def test_the_same_typo_in_several_words(monkeypatch, capsys) -> None:
    words = [f"stages.{name}.trainer.callbacks.checkpoint.every=1" for name in ("coarse", "fine", "texture")]
    said = told([*words, "stages.coarse.dat.size=3"], monkeypatch, capsys)
    key = words[0].partition("=")[0]
    assert said == f"{key}: no such key; did you mean 'checkpoints'?"


def test_a_folder_is_no_option(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "configs" / "experiment" / "folder.yaml").mkdir(parents=True)
    said = told(["experiment=folder", "--config-dir", str(tmp_path / "configs")], monkeypatch, capsys)
    assert said.startswith("experiment: no option 'folder'; choose one of: ")


def test_a_step_that_is_not_there_cannot_be_left_out(monkeypatch, capsys) -> None:
    for name in ("export", "score"):
        said = told(["experiment=train/ddpm", f"~{name}"], monkeypatch, capsys)
        assert said == f"~{name}: nothing to leave out; the experiment has none"
    said = told(["experiment=fit/neus", "object=shapes/7", "~export"], monkeypatch, capsys)
    assert said == "score: needs the export, which is left out; leave out both: ~score"
