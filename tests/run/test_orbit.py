"""The model in the page: what a browser draws of it is what our own rasteriser draws, from every side."""

import math

import numpy as np
import pytest
import torch
import trimesh

from threestudio_like.export.draw import draw, over_white
from threestudio_like.export.mesh import write_glb
from threestudio_like.ops.camera import orbit as orbiting
from threestudio_like.records import Mesh
from threestudio_like.run import orbit
from threestudio_like.run.report import write_report

SIDE = 240
COLOURS = torch.tensor(  # of the sides toward -x, -y, -z, x, y, z
    [[0.9, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.9], [0.8, 0.8, 0.1], [0.1, 0.8, 0.8], [0.8, 0.1, 0.8]]
)
# each look at the model is kept beside it, as soon as it is drawn
ACTIONS = """
<style>
canvas { position: fixed; left: 0; top: 0; border: 0 !important;
         width: SIDEpx !important; height: SIDEpx !important }
canvas.kept { top: SIDEpx }
</style>
<script>
window.requestAnimationFrame = draw => draw();
const model = document.querySelector("figure canvas"), button = document.querySelector("figure button");
const point = (kind, x, y) => model.dispatchEvent(
  new PointerEvent(kind, {pointerId: 1, clientX: x, clientY: y, bubbles: true}));
const drag = (x, y) => {
  point("pointerdown", 100, 100);
  point("pointermove", 100 + x, 100 + y);
  point("pointerup", 0, 0);
};
const looks = [
  () => window.dispatchEvent(new Event("resize")),
  () => drag(SIDE / 2, 0),
  () => drag(-SIDE / 2, SIDE),
  () => { model.dispatchEvent(new Event("dblclick")); button.click(); },
  () => model.dispatchEvent(new WheelEvent("wheel", {deltaY: 60, cancelable: true})),
];
async function look() {
  while (model.dataset.state !== "drawn") await new Promise(done => setTimeout(done, 20));
  for (const [index, act] of looks.entries()) {
    act();
    const kept = document.createElement("canvas");
    [kept.width, kept.height, kept.className] = [SIDE, SIDE, "kept"];
    kept.style.left = index * SIDE + "px";
    kept.getContext("2d").drawImage(model, 0, 0);
    document.body.append(kept);
  }
  const flag = "<div style='position: fixed; inset: 99% 0 0 99%; background: #f00'></div>";
  document.body.insertAdjacentHTML("beforeend", flag);
}
look();
</script></body>
""".replace("SIDE", str(SIDE))


@pytest.fixture
def box() -> Mesh:
    """Six sides of six colours, longer than wide, and not in the middle."""
    solid = trimesh.creation.box((0.5, 0.3, 0.7))
    normals = torch.tensor(np.array(solid.face_normals))
    axis = normals.abs().argmax(-1)
    side = axis + 3 * (normals.gather(-1, axis[:, None])[:, 0] > 0)
    uv = torch.stack([(torch.arange(6) + 0.5) / 6, torch.full((6,), 0.5)], dim=-1)
    vertices = torch.tensor(np.array(solid.vertices), dtype=torch.float32) + torch.tensor([0.1, -0.2, 0.05])
    faces = torch.tensor(np.array(solid.faces))
    return Mesh(vertices, faces, None, uv, side[:, None].expand(-1, 3), COLOURS[None])


def drawn(mesh: Mesh, azimuth: float, elevation: float) -> np.ndarray:
    """By our own rasteriser, from where the page looks."""
    middle = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2
    centred = mesh._replace(vertices=mesh.vertices - middle)
    distance = centred.vertices.norm(dim=-1).max() / math.sin(math.radians(20))
    angles = {"azimuth": azimuth, "elevation": elevation, "fov_y": 40.0}
    posed = {name: torch.tensor([math.radians(angle)]) for name, angle in angles.items()}
    camera = orbiting(distance=distance[None], height=SIDE, width=SIDE, **posed)
    return over_white(draw(centred, camera, 2))[0].numpy()


def flagged(shot: np.ndarray) -> bool:
    return tuple(shot[-1, -1]) == (255, 0, 0)


def test_a_browser_draws_the_model_and_turns_it(tmp_path, box, photographed) -> None:
    folder = tmp_path / "run"
    write_glb(folder / "export" / "model.glb", box)
    write_report(folder)
    page = (folder / "report.html").read_text()
    (tmp_path / "page.html").write_text(page.replace("</body>", ACTIONS))
    shot = photographed(f"file://{tmp_path}/page.html", 5 * SIDE, 2 * SIDE, until=flagged)
    looks = [shot[SIDE:, index * SIDE : (index + 1) * SIDE] / 255.0 for index in range(5)]
    # what is dragged to the right turns there: its front goes, its left side (toward -y) comes
    for look, (azimuth, elevation) in zip(looks, [(0, 15), (-90, 15), (0, math.degrees(1.55))], strict=False):
        error = np.abs(look - drawn(box, azimuth, elevation)).mean()
        assert error < 0.01, (azimuth, elevation, error)
    middles = [look[SIDE // 2, SIDE // 2] for look in looks[:3]]
    assert np.abs(np.array(middles) - COLOURS[[3, 1, 5]].numpy()).max() < 0.01
    covered = [(np.abs(look - 1) > 0.02).any(-1).mean() for look in looks]
    assert np.abs(looks[3] - looks[0]).mean() > 0.02 and covered[3] == pytest.approx(covered[0], abs=0.01)
    zoom = math.exp(60 / 400)
    assert covered[4] < covered[3] / zoom**1.5


def test_a_model_that_is_too_large_is_named_instead(tmp_path, monkeypatch) -> None:
    assert orbit.orbit(tmp_path / "model.glb") == ""
    (tmp_path / "model.glb").write_bytes(b"glTF")
    assert "Z2xURg==" in orbit.orbit(tmp_path / "model.glb")
    monkeypatch.setattr(orbit, "MAX_BYTES", 3)
    assert "too large" in orbit.orbit(tmp_path / "model.glb") and "canvas" not in orbit.orbit(
        tmp_path / "model.glb"
    )
