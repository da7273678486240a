"""Which run `resume=auto` goes on with."""

from pathlib import Path

from omegaconf import OmegaConf

from threestudio_like.run.again import chosen, finished, same

TREE = {"seed": 0, "outputs": "", "resume": "auto", "stages": {"one": {"rate": 0.5}}, "plan": None}


def left(folder: Path, tree: dict, state: str, started: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(tree)))
    (folder / "run.json").write_text(f'{{"state": "{state}", "started": "{started}"}}')
    return folder


def test_it_is_the_finished_or_else_the_newest_of_the_same_settings(tmp_path: Path) -> None:
    tree = {**TREE, "outputs": str(tmp_path)}
    assert chosen("auto", tree, "small") is None and chosen(None, tree, "small") is None
    left(tmp_path / "small" / "other", {**tree, "seed": 1}, "finished", "3")
    assert chosen("auto", tree, "small") is None
    old = left(tmp_path / "small" / "a", {**tree, "resume": None}, "interrupted", "1")
    new = left(tmp_path / "small" / "b", tree, "failed", "2")
    assert chosen("auto", tree, "small") == new and chosen("auto", tree, "large") is None
    done = left(tmp_path / "small" / "c", tree, "finished", "0")
    assert chosen("auto", tree, "small") == done and finished(done) and not finished(old)
    assert chosen(str(old), tree, "small") == old


def test_a_damaged_record_is_nobodys(tmp_path: Path) -> None:
    folder = left(tmp_path / "x", TREE, "finished", "1")
    assert same(folder, TREE)
    (folder / "config.yaml").write_text("{")
    (folder / "run.json").write_text("[")
    assert not same(folder, TREE) and not finished(folder)
