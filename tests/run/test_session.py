"""What a user can get wrong, each answered in one line; and the folder that is left."""

import json
from pathlib import Path
from textwrap import dedent

import pytest
from omegaconf import OmegaConf
from PIL import Image

from threestudio_like.run import session, stages

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("stages.first.system.rat=3", "stages.first.system.rat: no such key; did you mean 'rate'?"),
        (
            "+stages.first.system.ratee=1",
            "stages.first.system.ratee: System has no such setting; did you mean 'rate'?",
        ),
        (
            "stages.second.system.scene.geometry.size=0",
            "stages.second.system.scene.geometry.size: expected at least 1",
        ),
        ("stages.first.system.rate=3", "stages.first: rate: 3 is too large"),
        ("~scor", "scor: no such key; did you mean 'score'?"),
        ("~stages.first.system.rat", "stages.first.system.rat: no such key; did you mean 'rate'?"),
        ("ops.backend=nuba", "ops.backend: no backend 'nuba'"),
        ("+promt=x", "promt: nothing reads this key; did you mean 'prompt'?"),
        ("trainer@stages.first.trainer=cpuu", "trainer: no option 'cpuu'; did you mean 'cpu'?"),
        ("experiment=tini", "experiment: no option 'tini'; did you mean 'tiny'?"),
        ("foo bar", "cannot read 'foo bar'; write key=value"),
        ("image=nothing.png", "image: no such file 'nothing.png'"),
        (f"image={__file__}", "is not a picture"),
        ("image=", "image: expected a picture's file, such as PNG or JPEG, got ''"),
        ("object= ", "object: expected a mesh's file, such as GLB or OBJ, got ' '"),
        ("name=", "name: expected a name, got ''"),
        ("outputs=", "outputs: expected a folder, got ''"),
        ("outputs=null", "outputs: expected a folder, got None"),
        ("resume=", "resume: expected the folder of a run, got ''"),
        (f"resume={__file__}", "test_session.py is a file; expected the folder of a run"),
        ("resume=nowhere", "resume: no run in nowhere"),
        ("resume=~no-such-user", "resume: no run in ~no-such-user"),
        ("seed=${x}", "Interpolation key 'x' not found"),
        ("experiment=3", "experiment: no option '3'; choose one of: "),
        ("experiment=[tiny,tini]", "experiment: no option 'tini'; did you mean 'tiny'?"),
        (
            "--config-name=configg",
            "Cannot find primary config 'configg'. Check that it's in your config search path",
        ),
        (f"resume={CONFIGS}", f"resume: no run in {CONFIGS}"),  # a config.yaml, and no run.json
        ("seed=-1", "seed: expected a whole number from 0"),
        ("seed=", "seed: expected a whole number from 0"),
        ("plan=[]", "plan: names no stage; choose one of: first, second"),
        ("plan=first", "plan: expected a list, got 'first'; write plan=[first]"),
        ("plan=", "plan: expected a list, got ''; write plan=[first,second]"),
        ("init=", "init: expected the folder of a run's stage, got ''"),
        (
            "init=nowhere/coarse",
            "init: no such folder 'nowhere/coarse'; expected a stage's folder",
        ),
        (f"init={CONFIGS}", f"init: no scene in '{CONFIGS}'; expected a stage's folder"),
        ("tags=a", "tags: expected a list, got 'a'; write tags=[a]"),
        ("tags=[[a]]", "tags: expected words, got ['a']"),
        ("dry=maybe", "dry: expected true or false, got 'maybe'"),
        ("stages=null", "stages: nothing to run"),
        ("experiment=null", "stages: nothing to run"),
        ("experiment=", "experiment: no option ''; choose one of: "),
        ("elevation=91", "elevation: expected degrees from -90 to 90, got 91"),
        ("elevation=nan", "elevation: expected degrees from -90 to 90, got nan"),
        ("elevation=high", "elevation: expected degrees from -90 to 90, got 'high'"),
        ("elevation=40", "elevation: says where image= is seen from, and there is none"),
        ("--foo", "--foo: no such flag"),
        ("--resolve", "The --resolve flag can only be used in conjunction with --cfg or --help"),
    ],
)
def test_mistakes(refused, tmp_path: Path, overrides: str, line: str) -> None:
    assert line in refused(overrides)
    left = list((tmp_path / "outputs").glob("*/*/run.json"))
    assert len(left) == ("stages.second.system" in overrides)  # there the first stage has worked


@pytest.mark.parametrize(
    "overrides", ["image=nothing.png", f"image={__file__}", "ops.backend=nuba", "plan=[x]"]
)
def test_no_folder_before_the_input_is_read(refused, monkeypatch: pytest.MonkeyPatch, overrides: str) -> None:
    monkeypatch.setattr(session, "claimed", lambda *_: pytest.fail("a folder is made"))
    monkeypatch.setattr(stages, "check_parts", lambda *_: pytest.fail("systems are imported"))
    assert refused(overrides)


def test_absent_weights_are_named_before_anything_begins(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of the last stage, which hours would come before."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    said = refused("experiment=dreamcraft3d/paper")
    get = "download it with `hf download DeepFloyd/IF-I-XL-v1.0` or set weights=FOLDER"
    key = "stages.coarse.system.guidance.image.prior.weights"
    assert said == f"{key}: 'DeepFloyd/IF-I-XL-v1.0' is not on this machine; {get}"
    last = refused("experiment=dreamcraft3d/paper", "plan=[texture]")
    assert last.startswith(
        "stages.texture.system.guidance.texture.prior.weights: 'stabilityai/stable-diffusion"
    )
    random = "stages.coarse.system.guidance.image.prior.weights=random"
    assert refused("experiment=dreamcraft3d/paper", random).startswith("stages.coarse.system.guidance.view.")
    cues = refused("experiment=dreamcraft3d/small", "+priors@stages.coarse.data.cues=depth_anything")
    assert cues.startswith(
        "stages.coarse.data.cues.weights: 'depth-anything/Depth-Anything-V2-Small-hf' is not"
    )
    (tmp_path / "sd.ckpt").touch()
    alone = f"stages.texture.system.guidance.texture.prior.weights={tmp_path}/sd.ckpt"
    said = refused("experiment=dreamcraft3d/paper", "plan=[texture]", alone)
    assert said.startswith("stages.texture.system.guidance.texture.prior.text: sd.ckpt has no tokenizer")
    assert not (tmp_path / "outputs").exists()


def test_a_key_of_another_experiment_is_not_looked_up_here(refused) -> None:
    key = "stages.other.system.rate"
    assert (
        refused("experiment=tiny,[tiny]", f"{key}=3", "-m") == f"{key}: not in every experiment of the sweep"
    )
    assert refused("resume=nowhere", f"{key}=3") == f"{key}: a resumed run keeps its settings"


def test_an_edit_without_words_is_refused_before_its_scene_is_fitted(refused) -> None:
    said = refused("experiment=edit3d", "prompt=' '")
    key = "stages.edit.system.instruction"
    assert said == f'{key}: expected words, such as prompt="make it red", got " "'


def test_first_input_is_read_once(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiny

    read: list[str] = []
    monkeypatch.setattr(tiny.Data, "prepare", lambda self: read.append(self.image))
    run(*(f"stages.{name}.trainer.max_steps=1" for name in ("first", "second")), f"image={__file__}")
    assert read == [__file__] * 2  # by each stage


def test_typo_in_yaml(refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "configs" / "experiment"
    folder.mkdir(parents=True)
    text = """
        # @package _global_
        defaults: [/stage@stages.first: tiny, _self_]
        stages: {frist: {trainer: {max_steps: 3}}}
    """
    (folder / "typo.yaml").write_text(dedent(text).lstrip())
    searched = f"hydra.searchpath=[file://{tmp_path}/configs]"
    said = refused("experiment=typo", searched)
    assert said.startswith("stages.frist: has no system and no data") and "did you mean 'first'?" in said


def test_run_folder(run) -> None:
    folder = (
        run("stages.first.trainer.max_steps=10", "stages.second.trainer.max_steps=3")
        / "tiny/a-configured-prompt"
    )
    manifest, metrics = (json.loads((folder / name).read_text()) for name in ("run.json", "metrics.json"))
    assert manifest["state"] == "finished" and manifest["seed"] == 0 and "torch" in manifest["versions"]
    assert {stage["state"] for stage in manifest["stages"].values()} == {"finished"}
    assert metrics["stages"]["second"]["steps"] == 3 and "mean" in metrics and "seconds" in metrics
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    stage = ("checkpoints/last.ckpt", "metrics.json", "metrics.jsonl", "scene.safetensors", "scene.yaml")
    assert files >= {"config.yaml", "log.txt", "export/model.txt", *(f"first/{name}" for name in stage)}
    assert {name for name in files if Path(name).name.startswith(".")} == {".lock"}  # nothing half written
    assert "stages.first" not in (folder / "log.txt").read_text().splitlines()[0]


def test_second_run_takes_another_name(run) -> None:
    short = ("plan=[first]", "stages.first.trainer.max_steps=1", "name=My Cup!")
    run(*short)
    outputs = run(*short)
    assert sorted(p.name for p in (outputs / "tiny").iterdir()) == ["my-cup", "my-cup-2"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("../../etc/<b>passwd</b>", "etc-b-passwd-b"),
        ('${nope}, it\'s "red"!', "nope-it-s-red"),
        ("été 杯子", "été-杯子"),
    ],
)
def test_any_prompt(run, words: str, name: str) -> None:
    outputs = run("plan=[first]", "stages.first.trainer.max_steps=1", f"prompt={words}")
    folder = outputs / "tiny" / name
    assert [p.name for p in (outputs / "tiny").iterdir()] == [name]
    from omegaconf import OmegaConf

    assert OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))["prompt"] == words


def test_picture_leaves_configured_prompt_behind(run, tmp_path: Path) -> None:
    picture = tmp_path / "Blue Cup.ppm"
    Image.new("RGB", (2, 2)).save(picture)
    outputs = run("plan=[first]", "stages.first.trainer.max_steps=1", f"image={picture}")
    config = OmegaConf.load(outputs / "tiny" / "blue-cup" / "config.yaml")
    assert config.prompt == "" and config.image == str(picture)


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (["stages.first.system.rate=3,0.1"], ["stages.first: rate: 3 is too large"]),
        (
            ["seed=-1,0,x"],
            ["seed: expected a whole number from 0 to 4294967295, got " + s for s in ("-1", "'x'")],
        ),
        (
            ["image=missing.png,{picture}", "prompt=a configured prompt"],
            ["image: no such file 'missing.png'"],
        ),
        (["plan=[],[first]"], ["plan: names no stage; choose one of: first, second"]),
    ],
)
def test_sweep_goes_on_after_a_mistake(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], lines: list[str]
) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "cup.ppm")
    words = [word.format(picture=tmp_path / "cup.ppm") for word in overrides]
    plan = [] if "plan" in overrides[0] else ["plan=[first]"]
    with pytest.raises(SystemExit) as stopped:
        run("-m", *plan, "stages.first.trainer.max_steps=1", *words)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {line}" for line in lines]
    assert [p.name for p in (tmp_path / "outputs/tiny").iterdir()] == ["a-configured-prompt"]


DAMAGES = [
    ("config.yaml", b"seed: [0", "config.yaml cannot be read"),
    ("config.yaml", b"a: \xff", "config.yaml cannot be read"),
    ("config.yaml", b"", "seed: expected a whole number"),
    ("config.yaml", b"seed: 0\n", "stages: nothing to run"),
    ("config.yaml", b"- 1\n", "config.yaml is not the configuration of a run"),
    ("run.json", b'{"plan": [', "run.json cannot be read"),
    ("run.json", b"{}", "run.json cannot be read (it is not the record of a run)"),
    ("first/scene.safetensors", b"3", "scene.safetensors cannot be read"),
    ("first/scene.yaml", b"a: [", "scene.yaml cannot be read"),
    ("second/checkpoints/last.ckpt", b"3", "last.ckpt: not a whole checkpoint"),
]


@pytest.mark.parametrize("damages", [DAMAGES[::3], pytest.param(DAMAGES, marks=pytest.mark.slow)])
def test_damaged_runs(run, refused, damages) -> None:
    short = [f"stages.{name}.trainer.max_steps=1" for name in ("first", "second")]
    folder = run("plan=[first]", *short) / "tiny/a-configured-prompt"
    (folder / "second/checkpoints").mkdir(parents=True)
    for name, content, line in damages:
        file = folder / name
        before = file.read_bytes() if file.exists() else b""
        file.write_bytes(content)
        assert line in refused(f"resume={folder}", "plan=[first,second]")
        assert file.read_bytes() == content
        file.write_bytes(before)


def test_bug_keeps_its_traceback(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiny

    monkeypatch.setattr(tiny.System, "training_step", lambda self, batch, batch_idx: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("plan=[first]")


def test_backends_are_named_briefly():
    assert session.spoken({"hashgrid": "numba", "blend": "numba"}) == "numba"
    assert session.spoken({"a": "torch", "b": "numba", "c": "torch"}) == "b by numba, a c by torch"


SHORT = [f"stages.{name}.trainer.max_steps=2" for name in ("first", "second")]


def test_a_run_begins_from_the_scene_of_another(run, refused, capsys) -> None:
    outputs = run("plan=[first]", *SHORT, "name=one", "stages.first.system.scene.geometry.start=100")
    init = f"init={outputs}/tiny/one/first"
    still = ["stages.first.system.rate=0.0", "stages.second.system.rate=0.0"]  # hand-overs alone move it
    run(init, *SHORT, *still, "name=two", "export.suffix=txt")
    config = (outputs / "tiny/two/config.yaml").read_text()
    assert f"init: {outputs}/tiny/one/first" in config
    made = [float((outputs / f"tiny/{name}/export/model.txt").read_text()) for name in ("one", "two")]
    assert made[1] == made[0] > 400  # the second stage began from the first, not from `init`
    before = sorted(outputs.rglob("*"))
    capsys.readouterr()
    assert refused(init, *SHORT, "stages.first.system.scene.geometry.size=3") == (
        "init: no conversion from one size to another"
    )
    assert sorted(outputs.rglob("*")) == before


def test_what_begins_from_no_scene_says_so(run, refused, monkeypatch) -> None:
    outputs = run("plan=[first]", *SHORT, "name=one")
    import tiny

    monkeypatch.delattr(tiny.System, "begin_from")
    assert "init: stages.first.system begins from no scene" in refused(f"init={outputs}/tiny/one/first")


def test_tags_and_a_note_are_kept_and_may_change(run, monkeypatch) -> None:
    outputs = run("plan=[first]", *SHORT, "tags=[a,7]", "note=a first try, blue!")
    folder = outputs / "tiny/a-configured-prompt"
    record = json.loads((folder / "run.json").read_text())
    assert record["tags"] == ["a", "7"] and record["note"] == "a first try, blue!"
    run(f"resume={folder}", "note=kept")
    record = json.loads((folder / "run.json").read_text())
    assert record["tags"] == ["a", "7"] and record["note"] == "kept"


@pytest.mark.parametrize("changed", ["", "diff --git a/launch.py b/launch.py\n"])
def test_changed_code_is_kept(run, monkeypatch, changed: str) -> None:
    monkeypatch.setattr(session, "changes", lambda: changed)
    folder = run("plan=[first]", *SHORT) / "tiny/a-configured-prompt"
    file = folder / "changes.diff"
    assert (file.read_text() if file.exists() else "") == changed
