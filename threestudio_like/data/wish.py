"""Words and where what they mean shall be seen from: all that a picture is drawn of by a text prior."""

from __future__ import annotations

from typing import Any, NamedTuple

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from threestudio_like.data.cameras import Pose
from threestudio_like.data.stream import endless
from threestudio_like.ops.camera import repeated
from threestudio_like.ranges import Count
from threestudio_like.records import Camera


class Wish(NamedTuple):
    """B times the same words."""

    step: int
    prompts: list[str]
    camera: Camera


class Wishes(LightningDataModule):
    """`count` pictures of `prompt`, all from one pose."""

    def __init__(self, *, prompt: str, pose: Pose, count: Count) -> None:
        super().__init__()
        self.prompt, self.pose, self.count = prompt, pose, count

    def prepare(self) -> None:
        """Without words there is nothing to draw."""
        if not self.prompt.strip():
            raise ValueError('prompt: says what to draw, and is empty; write prompt="a red chair"')

    def wish(self, step: int, share: int) -> Wish:
        """The same at every step."""
        return Wish(step, [self.prompt] * self.count, repeated(self.pose.camera(1), self.count))

    def train_dataloader(self) -> DataLoader[Any]:
        """One after the other."""
        return endless(self.wish, self.trainer)
