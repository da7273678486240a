"""What TensorBoard would show, read back from the event file."""

from io import BytesIO
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.mesh.metadata import get_current_version  # noqa: F401  the tab MESH is there

from threestudio_like.loggers.tensorboard import MAX_FRAMES, TensorBoard, gif


@pytest.fixture
def board(tmp_path: Path) -> TensorBoard:
    return TensorBoard(save_dir=str(tmp_path), version="tensorboard")


def shown(board: TensorBoard) -> EventAccumulator:
    board.finalize("success")
    found = EventAccumulator(board.log_dir, size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    return found.Reload()


def test_numbers_and_pictures(board: TensorBoard) -> None:
    board.log_metrics({"loss/rgb": 0.25, "weight/rgb": 1000.0}, 9)
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    board.log_image("views", [picture, picture], 7)
    found = shown(board)
    assert [(event.step, event.value) for event in found.Scalars("loss/rgb")] == [(9, 0.25)]
    assert found.Scalars("weight/rgb")[0].value == 1000.0
    (event,) = found.Images("views")
    assert event.step == 7
    assert np.array_equal(np.asarray(Image.open(BytesIO(event.encoded_image_string))), picture)
    assert found.Images("views/1")


def test_a_video_is_an_animation(board: TensorBoard, tmp_path: Path) -> None:
    frames = [np.full((8, 16, 3), 40 * index, np.uint8) for index in range(5)]
    imageio.mimwrite(tmp_path / "around.gif", frames, duration=50)
    board.log_video("turntable", [str(tmp_path / "around.gif")], 3)
    (event,) = shown(board).Images("turntable")
    assert (event.step, event.width, event.height) == (3, 16, 8)
    with Image.open(BytesIO(event.encoded_image_string)) as animation:
        assert animation.format == "GIF" and animation.n_frames == 5
        animation.seek(4)
        assert np.abs(np.asarray(animation.convert("RGB")).astype(int) - 160).max() <= 1


def test_long_videos_are_thinned(tmp_path: Path) -> None:
    frames = [np.full((4, 4, 3), index, np.uint8) for index in range(2 * MAX_FRAMES)]
    imageio.mimwrite(tmp_path / "long.gif", frames, duration=20)
    with Image.open(BytesIO(gif(tmp_path / "long.gif")[0])) as animation:
        assert animation.n_frames <= MAX_FRAMES


def test_a_mesh(board: TensorBoard) -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 3]])
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    board.log_mesh("model", Path("model.glb"), 0, vertices=vertices, faces=faces, colors=colors)
    found = shown(board)
    parts = {
        tag.rpartition("_")[2]: torch.tensor(np.array(_values(found.Tensors(tag)[0].tensor_proto)))
        for tag in found.Tags()["tensors"]
        if tag.startswith("model") and not tag.endswith("CONFIG")
    }
    assert torch.equal(parts["VERTEX"].reshape(4, 3), vertices)
    assert torch.equal(parts["FACE"].reshape(2, 3).long(), faces)
    assert parts["COLOR"].reshape(4, 3)[:2].tolist() == [[255, 0, 0], [0, 255, 0]]


def _values(proto) -> np.ndarray:
    from tensorboard.util.tensor_util import make_ndarray

    return make_ndarray(proto)


def test_a_table_is_text(board: TensorBoard) -> None:
    board.log_table("runs", columns=["job", "iou"], data=[[0, 0.123456], ["a|b", None]])
    (event,) = shown(board).Tensors("runs/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert text.splitlines() == [
        "| job  | iou    |",
        "| ---- | ------ |",
        "| 0    | 0.1235 |",
        "| a\\|b |        |",
    ]


def test_settings_and_scores_meet_in_hparams(board: TensorBoard) -> None:
    board.log_hyperparams({"seed": 1})  # alone they would be a line without a score
    board.log_result({"seed": 0, "system.rate": 0.5, "plan": ["a", "b"]}, {"volume_iou": 0.75})
    found = shown(board)
    assert found.Scalars("result/volume_iou")[0].value == 0.75
    data = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = HParamsPluginData.FromString(data).session_start_info.hparams
    assert told["seed"].number_value == 0 and told["system.rate"].number_value == 0.5
    assert told["plan"].string_value == "['a', 'b']"
    data = found.summary_metadata["_hparams_/experiment"].plugin_data.content
    metrics = HParamsPluginData.FromString(data).experiment.metric_infos
    assert [metric.name.tag for metric in metrics] == ["result/volume_iou"]
