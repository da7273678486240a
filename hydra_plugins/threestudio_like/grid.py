"""Every combination: `-m seed=0,1 a.b=3,4`. Hydra's own grid, with a summary, and in a folder it goes on."""

from __future__ import annotations

from collections.abc import Iterator

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from threestudio_like.run import jobs
from threestudio_like.run.errors import UserError
from threestudio_like.run.sweeper import Batch, Jobs


class Grid(Jobs):
    """All jobs at once; in the folder of a sweep that was killed, those that did not finish there."""

    def batches(self, overrides: list[Override]) -> Iterator[tuple[int, Batch]]:
        """One batch."""
        for each in overrides:
            if each.is_interval_sweep():
                word = f"{each.get_key_element()}: a grid takes values, not an interval"
                raise UserError(f"{word}; hydra/sweeper=tpe takes both")
        (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        before = jobs.settled(self.folder)
        for job in before:
            if job.state == "sent":  # to be sent again, under another number
                jobs.forget(self.folder, job.number)
        done = {job.overrides for job in before if job.state == "finished"}
        left = [words for words in batch if tuple(words) not in done]
        if left:
            self.validate_batch_is_legal(left)
            yield max((job.number + 1 for job in before), default=0), left
