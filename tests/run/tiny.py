"""The smallest experiment that has everything a run handles: two stages, a hand-over, data, an export."""

import os
import time
from pathlib import Path

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from threestudio_like.scene import Scene


class Table(nn.Module):
    def __init__(self, *, size: int, start: float) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size: expected at least 1, got {size}")
        self.values = nn.Parameter(start + torch.rand(size))


class Empty(nn.Module):
    pass


class System(LightningModule):
    """Walks its table toward noise that is a function of (seed, step)."""

    def __init__(self, *, scene: Scene, seed: int, rate: float) -> None:
        super().__init__()
        self.scene, self.seed, self.rate = scene, seed, rate

    def begin_from(self, scene: Scene) -> None:
        if len(scene.geometry.values) != len(self.scene.geometry.values):
            raise ValueError("no conversion from one size to another")
        with torch.no_grad():
            self.scene.geometry.values.copy_(scene.geometry.values)

    def training_step(self, batch: int, batch_idx: int) -> torch.Tensor:
        if "TINY_MARK" in os.environ:
            Path(os.environ["TINY_MARK"]).touch()  # in a step now
        time.sleep(float(os.environ.get("TINY_DELAY", 0)))  # to be killed in
        torch.manual_seed(self.seed * 1000003 + batch)
        values = self.scene.geometry.values
        loss = (values - torch.randn_like(values) - 0.01 * batch).square().mean()
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.rate > 1:
            raise ValueError(f"rate: {self.rate} is too large")
        return torch.optim.Adam(self.parameters(), lr=self.rate)


class Count(IterableDataset):
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self):
        step = self.first
        while True:
            yield step
            step += 1


class Data(LightningDataModule):
    size = 4

    def __init__(self, *, image: str | None) -> None:
        super().__init__()
        self.image = image

    def prepare(self) -> None:
        if self.image is not None and Path(self.image).read_bytes()[:2] != b"P6":
            raise ValueError(f"image: {self.image} is not a picture")

    def reference(self, side: int) -> int:
        return side

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Count(self.trainer.global_step), batch_size=None)


class Export:
    def __init__(self, *, suffix: str) -> None:
        self.suffix = suffix

    def __call__(self, scene: Scene, reference: int, folder: Path) -> dict[str, object]:
        folder.mkdir(exist_ok=True)
        file = folder / f"model.{self.suffix}"
        file.write_text(str(scene.geometry.values.sum().item()))
        return {"model": file, "side": reference}


class Score:
    def __init__(self) -> None:
        pass

    def __call__(self, scene: Scene) -> dict[str, float]:
        return {"mean": scene.geometry.values.mean().item()}
