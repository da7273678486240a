"""A logger from outside the package: it takes numbers, pictures and meshes, and writes what it is told."""

import json
from pathlib import Path

from pytorch_lightning.loggers import Logger


class Notebook(Logger):
    def __init__(self, *, save_dir: str, pages: int) -> None:
        super().__init__()
        self.file, self.pages = Path(save_dir) / "notebook.jsonl", pages

    name = version = "notebook"

    def note(self, *words) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "a") as file:
            file.write(json.dumps(words) + "\n")

    def log_hyperparams(self, params, *_, **__) -> None:
        self.note("settings", params)

    def log_metrics(self, metrics, step=None) -> None:
        self.note("numbers", metrics, step)

    def log_image(self, key, images, step) -> None:
        self.note("picture", key, list(images[0].shape), step)

    def log_mesh(self, key, file, step, *, vertices, faces, colors) -> None:
        self.note("mesh", key, file.name, len(vertices), len(faces), colors[0].tolist())
