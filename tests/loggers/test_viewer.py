"""It shows what a browser's camera sees, keeps to its share of the time, and changes no number."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from threestudio_like.loggers import viewer as viewing
from threestudio_like.loggers.viewer import LEAST, Viewer, painted, placed, rotation, seen_from
from threestudio_like.ops.camera import orbit
from threestudio_like.records import Batch, Camera, Render, View

SETTINGS = {"port": 8700, "side": 128, "share": 0.1, "wait": 0.0, "camera": [1.0, 0.0, 0.0]}
RING = orbit(
    azimuth=torch.tensor([0.3, 2.0, -2.5]),
    elevation=torch.tensor([0.2, -0.7, 1.2]),
    distance=torch.tensor([2.0, 1.5, 3.0]),
    fov_y=torch.full((3,), 0.7),
    height=32,
    width=48,
)


class Renderer(nn.Module):
    """Random, and another thing when it trains: what a careless look would disturb."""

    def __init__(self, delay: float) -> None:
        super().__init__()
        self.delay = delay
        self.heights: list[int] = []

    def forward(self, scene: nn.Module, camera: Camera, step: int) -> Render:
        assert not self.training and not scene.training and not torch.is_grad_enabled()
        self.heights.append(camera.height)
        time.sleep(self.delay)
        shape = (1, camera.height, camera.width)
        noise = torch.rand(*shape, 3)
        ones = torch.ones(*shape, 1)
        return Render(noise, ones, ones, noise)


class System(LightningModule):
    """Every step takes what the generator gives next; its frozen part is in evaluation mode."""

    def __init__(self, delay: float = 0.0, picture: float = 0.0) -> None:
        super().__init__()
        self.scene = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
        self.renderer = Renderer(picture)
        self.delay = delay

    def on_train_start(self) -> None:
        self.scene[1].eval()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        assert self.scene.training and not self.scene[1].training and self.renderer.training
        time.sleep(self.delay)
        return self.scene(torch.rand(2, 3)).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Browser:
    """A client that keeps what it is shown."""

    def __init__(self) -> None:
        self.camera = SimpleNamespace(
            wxyz=np.array([1.0, 0, 0, 0]), position=np.zeros(3), fov=0.7, aspect=1.5
        )
        self.shown: list[np.ndarray] = []
        self.said: list[str] = []
        self.scene = SimpleNamespace(set_background_image=lambda picture, **_: self.shown.append(picture))

    def add_notification(self, title: str, body: str) -> None:
        self.said.append(body)


def trained(system: System, steps: int, callbacks: list, folder) -> System:
    view = View(RING, torch.zeros(3, 1, 1, 3), torch.zeros(3, 1, 1, 1))
    batches = DataLoader([Batch(step, RING, view) for step in range(steps)], batch_size=None)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        enable_checkpointing=False,
        default_root_dir=folder / "coarse",
        callbacks=callbacks,
        **quiet,
    )
    trainer.fit(system, batches)
    return system


@pytest.fixture
def watched(monkeypatch):
    """A viewer with its server, at a client's mercy."""
    pytest.importorskip("viser")
    made = []

    def viewer(browser: Browser | None, **settings) -> Viewer:
        each = Viewer(**{**SETTINGS, **settings})
        monkeypatch.setattr(each, "clients", lambda: [] if browser is None else [browser])
        made.append(each)
        return each

    yield viewer
    for each in made:
        each.close()


def test_a_run_ends_with_the_same_numbers_whether_it_was_looked_at_or_not(watched, tmp_path) -> None:
    ends = []
    for callbacks in ([], [watched(Browser(), share=1.0)]):
        torch.manual_seed(3)
        ends.append(trained(System(), 12, callbacks, tmp_path).scene.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    browser = Browser()
    viewer = watched(browser, share=1.0)
    trained(System(), 12, [viewer], tmp_path)
    assert len(browser.shown) == 12 and browser.shown[0].shape == (128, 192, 3)
    assert viewer.panel["where"].content == "**coarse**, step 12 of 12"


class Network(System):
    """Has no scene."""

    def __init__(self) -> None:
        LightningModule.__init__(self)
        self.layer = nn.Linear(1, 1)

    def on_train_start(self) -> None:
        pass

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self.layer(torch.ones(1)).sum()


def test_of_a_system_without_a_scene_only_the_step_is_told(watched, tmp_path) -> None:
    browser = Browser()
    viewer = watched(browser)
    viewer.export = lambda *_: pytest.fail("there is nothing to export")
    viewer.ask()
    trained(Network(), 3, [viewer], tmp_path)
    assert not browser.shown and viewer.panel["where"].content == "**coarse**, step 3 of 3"


def test_nothing_is_drawn_when_nobody_looks(watched, tmp_path) -> None:
    viewer = watched(None)
    system = trained(System(), 5, [viewer], tmp_path)
    assert not system.renderer.heights
    assert viewer.server.get_host() == "127.0.0.1"


def test_pictures_keep_to_their_share_and_shrink_when_they_take_long(watched, tmp_path) -> None:
    browser = Browser()
    system = System(delay=0.002, picture=0.02)
    began = time.monotonic()
    trained(system, 120, [watched(browser, wait=0.1)], tmp_path)
    spent = time.monotonic() - began
    assert 2 <= len(browser.shown) <= 1 + 0.1 * spent / 0.02
    assert system.renderer.heights[0] == 128 and system.renderer.heights[-1] < 128
    viewer = watched(browser, wait=0.1)
    for _ in range(9):
        viewer.pace(10.0)
    assert viewer.height == LEAST
    for _ in range(30):
        viewer.pace(0.0001)
    assert viewer.height == 128


def test_it_pauses_shows_other_things_and_goes_on(watched, tmp_path) -> None:
    browser, steps = Browser(), []
    viewer = watched(browser)
    system = System()
    system.on_train_batch_start = lambda batch, index: steps.append(batch.step)

    def hand() -> None:
        """Waits until the run stands still, looks at the depth, and lets it go."""
        while len(browser.shown) < 3:
            time.sleep(0.01)
        steps.append("still")
        viewer.show("depth")
        while not (browser.shown[-1][0, 0] == browser.shown[-1][0, 0, 0]).all():
            time.sleep(0.01)
        steps.append("depth")
        viewer.pause(False)

    viewer.paused = True
    thread = threading.Thread(target=hand)
    thread.start()
    trained(system, 3, [viewer], tmp_path)
    thread.join()
    assert steps == [0, "still", "depth", 1, 2] and not viewer.paused


def test_a_pause_is_no_work(watched, tmp_path) -> None:
    """Who counts the seconds of a stage is told of those that it stood still."""
    browser, rests = Browser(), []
    viewer, clock = watched(browser), Callback()
    clock.rested = rests.append

    def hand() -> None:
        while not browser.shown:
            time.sleep(0.01)
        time.sleep(0.5)
        viewer.pause(False)

    viewer.paused = True
    threading.Thread(target=hand, daemon=True).start()
    trained(System(), 2, [viewer, clock], tmp_path)
    assert sum(rests) > 0.4


def test_a_pause_ends_when_nobody_looks_or_ctrl_c_waits(watched, tmp_path) -> None:
    alone = watched(None)
    alone.paused = True
    trained(System(), 2, [alone], tmp_path)
    assert not alone.paused
    held = watched(Browser())
    held.paused = held.interrupted = True  # as the callback that listens for Ctrl-C is
    trained(System(), 2, [held], tmp_path)


def test_export_is_asked_for_once_and_may_fail(watched, tmp_path) -> None:
    browser = Browser()
    viewer = watched(browser)
    calls = []

    def export(system: System, stage: str, step: int) -> str:
        torch.rand(1)
        calls.append((stage, step))
        if len(calls) == 2:
            raise ValueError("export: the scene has no surface")
        return "model.glb"

    viewer.export = export
    viewer.ask()
    trained(System(), 2, [viewer], tmp_path)
    viewer.ask()
    trained(System(), 2, [viewer], tmp_path)
    assert calls == [("coarse", 1), ("coarse", 1)]
    assert browser.said == ["model.glb", "cannot export: export: the scene has no surface"]


@pytest.mark.parametrize("index", range(3))
def test_cameras_go_to_the_browser_and_back(index: int) -> None:
    position, wxyz = placed(RING.c2w[index])
    camera = seen_from(SimpleNamespace(position=position, wxyz=wxyz, fov=0.7, aspect=1.5), 32)
    assert torch.allclose(camera.c2w[0], RING.c2w[index], atol=1e-5)
    assert (camera.height, camera.width, float(camera.fov_y)) == (32, 48, pytest.approx(0.7))
    # what a browser's camera looks along, +z of its own, leads to the middle
    away = torch.tensor(position)
    assert torch.allclose(rotation(wxyz)[:, 2], -away / away.norm(), atol=1e-5)


def test_kinds_of_pictures() -> None:
    rgb = torch.full((1, 1, 3, 3), 0.5)
    depth = torch.tensor([1.0, 2.0, 0.0])[None, None, :, None]
    alpha = torch.tensor([1.0, 1.0, 0.0])[None, None, :, None]
    normal = torch.tensor([1.0, 0.0, -1.0]).expand(1, 1, 3, 3)
    seen = Render(rgb, alpha, depth, normal)
    assert (painted(seen, "colour") == 128).all()
    assert painted(seen, "normal")[0].tolist() == [[255, 128, 0], [255, 128, 0], [255, 255, 255]]
    assert painted(seen, "depth")[0, :, 0].tolist() == [255, 51, 255]
    assert (painted(seen._replace(alpha=alpha * 0), "depth") == 255).all()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"share": 0.0}, "share: expected"),
        ({"side": 3}, "side: at least 64"),
        ({"camera": [1.0]}, "camera: expected three"),
    ],
)
def test_settings_that_cannot_be(settings: dict, line: str) -> None:
    pytest.importorskip("viser")
    with pytest.raises(ValueError, match=line):
        Viewer(**{**SETTINGS, **settings})


def test_without_viser_it_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(viewing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^needs viser; pip install 'threestudio-like\[viewer\]'"):
        Viewer(**SETTINGS)
