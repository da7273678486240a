"""What wandb would send, read back from the file that it keeps while offline."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from threestudio_like.loggers.wandb import Wandb, logged_in

BLOCK, HEAD = 32768, 7  # of LevelDB's log format, after 7 bytes of wandb's own


def records(file: Path) -> Iterator[bytes]:
    """What was written, record by record: each is one chunk, or a first, middle ones and a last."""
    data, place, whole = file.read_bytes(), HEAD, b""
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:  # too little left of the block
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEAD])
        if kind == 0:
            return
        whole += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):  # alone, or the last
            yield whole
            whole = b""


def history(folder: Path) -> dict[str, list[str]]:
    """Every value that was logged, as JSON, by its dotted key; none while another process is writing it."""
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, list[str]] = {}
    for file in folder.glob("wandb/offline-run-*/*.wandb"):
        try:
            read = list(map(Record.FromString, records(file)))
        except DecodeError:
            return {}
        for record in read:
            for item in record.history.item:
                found.setdefault(".".join(item.nested_key) or item.key, []).append(item.value_json)
            for item in record.config.update:
                found.setdefault(f"config/{item.key}", []).append(item.value_json)
    return found


def test_a_stage_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = tmp_path / "a-cup" / "coarse"
    board = Wandb(save_dir=str(folder), project="tests", mode="offline")
    board.log_hyperparams({"seed": 3})
    board.log_metrics({"loss/rgb": 0.25, "weight/rgb": 1000.0}, 9)
    board.log_image("views", [np.full((4, 6, 3), 200, np.uint8)], step=10)
    (tmp_path / "around.gif").write_bytes(b"GIF89a" + bytes(20))
    board.log_video("turntable", [str(tmp_path / "around.gif")], step=0, format=["gif"])
    (tmp_path / "model.glb").write_bytes(b"glTF" + bytes(60))
    shape = {"vertices": torch.zeros(3, 3), "faces": torch.tensor([[0, 1, 2]]), "colors": torch.zeros(3, 3)}
    board.log_mesh("model", tmp_path / "model.glb", 0, **shape)
    board.log_table("runs", columns=["job", "iou"], data=[[0, 0.5], [1, None]])
    board.log_result({"rate": 0.5}, {"volume_iou": 0.75})
    board.close()
    found, end = history(folder), time.monotonic() + 60
    while "result/volume_iou" not in found and time.monotonic() < end:  # another process writes it
        time.sleep(0.1)
        found = history(folder)
    assert (
        found["loss/rgb"] == ["0.25"]
        and found["weight/rgb"] == ["1000"]
        and "9" in found["trainer/global_step"]
    )
    assert found["result/volume_iou"] == ["0.75"]
    assert found["config/seed"][-1] == "3" and found["config/rate"][-1] == "0.5"
    media = {file.parent.name: file for file in folder.glob("wandb/offline-run-*/files/media/*/*")}
    assert {"images", "videos", "object3D", "table"} <= set(media)
    assert media["object3D"].read_bytes() == (tmp_path / "model.glb").read_bytes()
    assert media["videos"].read_bytes() == (tmp_path / "around.gif").read_bytes()
    text = " ".join(found)
    assert "model" in text and "turntable" in text and "views" in text and "runs" in text


def test_who_is_asked_for_another_mode(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode: expected auto, online or offline, got 'of'"):
        Wandb(save_dir=str(tmp_path), project="tests", mode="of")


def test_auto_is_offline_where_nobody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {}
    for known in (False, True):
        monkeypatch.setattr("threestudio_like.loggers.wandb.logged_in", lambda known=known: known)
        board = Wandb(save_dir=str(tmp_path / "a-cup" / "fine"), project="tests", mode="auto")
        kinds[known] = board._offline
        assert (
            board.version
            == Wandb(save_dir=str(tmp_path / "a-cup" / "fine"), project="p", mode="offline").version
        )
    assert kinds == {False: True, True: False}


def test_who_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not logged_in()
    (tmp_path / "netrc").write_text("machine example.org login a password b\n")
    assert not logged_in()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password b\n")
    assert logged_in()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not logged_in()
