"""`viewer=on` from the command line: one viewer for all stages, and an export before the end."""

import pytest

from threestudio_like.loggers import viewer as viewing


def test_one_viewer_serves_all_stages_and_the_numbers_stay(run, monkeypatch) -> None:
    pytest.importorskip("viser")
    served: list[tuple[int, str]] = []

    def looking(self, trainer, pl_module, batch) -> None:
        served.append((self.server.get_port(), viewing.stage(trainer)))
        if len(served) == 3:
            self.exported(pl_module, trainer)

    monkeypatch.setattr(viewing.Viewer, "look", looking)
    short = [f"stages.{name}.trainer.max_steps=4" for name in ("first", "second")]
    outputs = run("name=seen", "viewer=on", "viewer.port=8750", *short)
    run("name=unseen", *short)
    assert len({port for port, _ in served}) == 1
    assert [stage for _, stage in served] == ["first"] * 4 + ["second"] * 4
    made = [(outputs / "tiny" / name / "export" / "model.txt").read_text() for name in ("seen", "unseen")]
    live = (outputs / "tiny/seen/live/first-000003/model.txt").read_text()
    assert made[0] == made[1] != live
    run(f"resume={outputs}/tiny/unseen", "viewer=on")  # it is no setting of the run


def test_mistakes_are_found_before_anything_runs(refused, monkeypatch) -> None:
    monkeypatch.setattr(viewing.importlib.util, "find_spec", lambda name: None)
    assert refused("viewer=on").startswith("viewer: needs viser; pip install")
    assert "viewer: no option 'onn'; did you mean 'on'?" in refused("viewer=onn")
