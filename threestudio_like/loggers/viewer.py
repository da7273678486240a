"""The scene in a browser while it trains: `viewer=on`, and open the address that the log names.

Pictures are drawn by the run's own renderer between two steps, by the thread that trains: only while somebody
looks, small, and no more of them than a given share of the time. Nothing that a step depends on is touched
(weights, modes, random numbers), so a run ends with the same numbers whether it was looked at or not.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from threestudio_like.loggers.images import to_bytes
from threestudio_like.records import Camera, Render

log = logging.getLogger(__name__)
HOST = "127.0.0.1"
NEEDED = ("scene", "renderer")  # of a system, to be drawn; of others only the step is told
KINDS = ("colour", "normal", "depth")
LEAST = 64  # pixels of a picture's height
MOST = 16  # cameras of a step that are shown
FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # OpenCV's axes of a camera, which browsers get, and ours


class Viewer(Callback):
    """Lightning's callback; one serves all stages of a run, and `close` ends it.

    port: of this machine's own address. side: pixels of a picture's height, at most.
    share: of the time that pictures may take. wait: least seconds between two. camera: where it first stands.
    """

    def __init__(self, *, port: int, side: int, share: float, wait: float, camera: Sequence[float]) -> None:
        if importlib.util.find_spec("viser") is None:
            raise ValueError("needs viser; pip install 'threestudio-like[viewer]', or viser itself")
        if not 0 < share <= 1:
            raise ValueError(f"share: expected more than 0, at most 1, got {share}")
        if len(camera) != 3:
            raise ValueError(f"camera: expected three coordinates, got {len(camera)}")
        if side < LEAST:
            raise ValueError(f"side: at least {LEAST}, not {side}")
        self.port, self.side, self.share, self.wait, self.camera = port, side, share, wait, camera
        self.export: Callable[[LightningModule, str, int], str] | None = None  # what "export now" does
        self.height = side
        self.next = 0.0  # when a picture may be drawn again
        self.paused = self.asked = False
        self.kind = KINDS[0]
        self.server: Any = None
        self.panel: dict[str, Any] = {}

    def serve(self) -> None:
        """Open the address; once for all stages."""
        import viser

        self.server = viser.ViserServer(host=HOST, port=self.port, label="threestudio-like", verbose=False)
        self.server.scene.set_up_direction("+z")
        self.server.initial_camera.position = tuple(self.camera)
        self.server.initial_camera.look_at = (0.0, 0.0, 0.0)
        gui = self.server.gui
        self.panel["where"] = gui.add_markdown("no step yet")
        self.panel["pause"] = gui.add_button("pause")
        self.panel["pause"].on_click(lambda event: self.pause(not self.paused))
        self.panel["kind"] = gui.add_dropdown("show", KINDS)
        self.panel["kind"].on_update(lambda event: self.show(event.target.value))
        self.panel["cameras"] = gui.add_checkbox("cameras of this step", True)
        self.panel["export"] = gui.add_button("export now", disabled=self.export is None)
        self.panel["export"].on_click(lambda event: self.ask())
        log.info("viewer: http://%s:%d", HOST, self.server.get_port())

    def pause(self, paused: bool) -> None:
        """Hold the run between two steps, or let it go on; it also goes on when nobody looks any more."""
        self.paused = paused
        self.panel["pause"].label = "go on" if paused else "pause"

    def show(self, kind: str) -> None:
        """What pictures show from now on."""
        self.kind, self.next = kind, 0.0

    def ask(self) -> None:
        """Export after this step."""
        self.asked = True

    def clients(self) -> list[Any]:
        """Who looks."""
        return list(self.server.get_clients().values())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Not before there is something to see, and in the first process only."""
        if self.server is None and trainer.is_global_zero:
            self.serve()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A picture, if one is due; all that was clicked; and as long as it is paused, nothing else."""
        if self.server is None:
            return
        self.look(trainer, pl_module, batch)
        since = time.monotonic()
        while self.paused and self.clients() and not interrupted(trainer):
            self.look(trainer, pl_module, batch)
            time.sleep(0.02)
            since = rest(trainer, since)
        if self.paused:
            self.pause(False)

    def look(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        """Answer what was asked; draw for everybody when it is time."""
        if self.asked:
            self.asked = False
            self.exported(pl_module, trainer)
        clients, now = self.clients(), time.monotonic()
        if not clients or now < self.next:
            return
        at = f"step {trainer.global_step} of {trainer.max_steps}"
        self.panel["where"].content = f"**{stage(trainer)}**, {at}"
        if not all(hasattr(pl_module, part) for part in NEEDED):
            self.next = now + self.wait
            return
        for client in clients:
            camera = seen_from(client.camera, self.height)
            picture = painted(render(pl_module, camera, batch.step), self.kind)
            client.scene.set_background_image(picture, format="jpeg", jpeg_quality=85)
        self.frusta(batch)
        self.pace(time.monotonic() - now)

    def pace(self, spent: float) -> None:
        """When the next picture is due, and how large it is, after one that took so many seconds."""
        rest = max(self.wait, spent * (1 / self.share - 1))  # so that pictures get no more than their share
        self.next = time.monotonic() + (self.wait / 4 if self.paused else rest)
        aim = self.wait * self.share / max(1 - self.share, 0.01)
        self.height = round(min(self.side, max(LEAST, self.height * (aim / max(spent, 1e-4)) ** 0.5)))

    def frusta(self, batch: Any) -> None:
        """The cameras that the step looked from."""
        camera: Any = getattr(getattr(batch, "view", batch), "camera", None)
        count = 0 if camera is None or not self.panel["cameras"].value else min(MOST, len(camera.c2w))
        for index in range(MOST):
            name = f"/cameras/{index}"
            if index >= count:
                self.server.scene.remove_by_name(name)
                continue
            aspect = camera.width / camera.height
            position, wxyz = placed(camera.c2w[index])
            self.server.scene.add_camera_frustum(
                name,
                float(camera.fov_y[index]),
                aspect,
                scale=0.1,
                thickness=0.005,
                position=position,
                wxyz=wxyz,
            )

    def exported(self, pl_module: LightningModule, trainer: Trainer) -> None:
        """What the run would export at its end; a scene that cannot be exported yet does not stop it."""
        if self.export is None or not hasattr(pl_module, "scene"):
            return
        try:
            with torch.random.fork_rng():
                said = self.export(pl_module, stage(trainer), trainer.global_step)
        except ValueError as error:
            said = f"cannot export: {error}"
        log.info("viewer: %s", said)
        for client in self.clients():
            client.add_notification("export", said)

    def close(self) -> None:
        """Let the address go."""
        if self.server is not None:
            self.server.stop()
            self.server = None


def stage(trainer: Trainer) -> str:
    """The stage's name: its folder's."""
    return str(trainer.default_root_dir).rstrip("/").rpartition("/")[2]


def interrupted(trainer: Trainer) -> bool:
    """Whether Ctrl-C waits for the end of the step."""
    return any(getattr(callback, "interrupted", False) for callback in trainer.callbacks)  # type: ignore


def rest(trainer: Trainer, since: float) -> float:
    """Tell who counts the seconds of work that those since then were none; gives now."""
    now = time.monotonic()
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(callback, "rested"):
            callback.rested(now - since)
    return now


@torch.no_grad()
def render(pl_module: LightningModule, camera: Camera, step: int) -> Render:
    """What the scene looks like, in evaluation mode; modes and random numbers are left as they were."""
    parts = [*pl_module.scene.modules(), *pl_module.renderer.modules()]  # type: ignore[operator, union-attr]
    modes = [(part, part.training) for part in parts]
    c2w, fov_y = camera.c2w.to(pl_module.device), camera.fov_y.to(pl_module.device)
    try:
        for part in parts:
            part.training = False
        with torch.random.fork_rng():
            camera = camera._replace(c2w=c2w, fov_y=fov_y)
            return pl_module.renderer(pl_module.scene, camera, step)  # type: ignore[operator]
    finally:
        for part, mode in modes:
            part.training = mode


def painted(render: Render, kind: str) -> UInt8[np.ndarray, "H W 3"]:
    """Bytes of the first picture: its colours, its normals as colours, or its depth, near light."""
    if kind == "normal":
        return to_bytes(render.normal_rgba[0, ..., :3]).numpy()
    if kind == "colour":
        return to_bytes(render.rgb[0]).numpy()
    depth, hit = render.depth[0], render.alpha[0] >= 0.5
    if not hit.any():
        return to_bytes(torch.ones_like(render.rgb[0])).numpy()
    near, far = depth[hit].min(), depth[hit].max()
    grey = 1 - 0.8 * (depth - near) / (far - near).clamp(min=1e-6)
    return to_bytes(torch.where(hit, grey, torch.ones_like(grey)).expand(-1, -1, 3)).numpy()


def seen_from(camera: Any, height: int) -> Camera:
    """A browser's camera as ours: position, and a quaternion (w, x, y, z) of a camera that looks along +z."""
    c2w = torch.eye(4)
    c2w[:3, :3] = rotation(camera.wxyz) @ FLIP
    c2w[:3, 3] = torch.tensor(np.asarray(camera.position), dtype=torch.float32)
    width = max(1, round(height * min(4.0, camera.aspect)))
    return Camera(c2w[None], torch.tensor([float(camera.fov)]), height, width)


def placed(c2w: Float[Tensor, "4 4"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The way back: position and quaternion of one of our cameras."""
    turn = (c2w[:3, :3].cpu() @ FLIP).double()
    # the eigenvector of the largest eigenvalue (Bar-Itzhack 2000), which no angle divides by zero
    (a, b, c), (d, e, f), (g, h, i) = turn.tolist()
    matrix = [
        [a + e + i, h - f, c - g, d - b],
        [h - f, a - e - i, b + d, c + g],
        [c - g, b + d, e - a - i, f + h],
        [d - b, c + g, f + h, i - a - e],
    ]
    wxyz = torch.linalg.eigh(torch.tensor(matrix, dtype=torch.float64)).eigenvectors[:, -1]
    return tuple(c2w[:3, 3].tolist()), tuple(wxyz.tolist())


def rotation(wxyz: Any) -> Float[Tensor, "3 3"]:
    """The matrix of a quaternion, four numbers of any length but zero."""
    w, x, y, z = (np.asarray(wxyz, dtype=np.float64) / np.linalg.norm(wxyz)).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
