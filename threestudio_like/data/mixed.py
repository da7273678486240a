"""Several sources of objects as one."""

from __future__ import annotations

from collections.abc import Mapping

from threestudio_like import cache
from threestudio_like.data.objects import Object
from threestudio_like.data.views import Source


class Mixed:
    """The objects of all `sources`, one source after the other; the keys are only their names."""

    def __init__(self, *, sources: Mapping[str, Source]) -> None:
        if not sources:
            raise ValueError("sources: at least one is needed")
        self.sources = list(sources.values())

    def load(self) -> list[Object]:
        """All of them."""
        return [each for source in self.sources for each in source.load()]

    def fingerprint(self) -> str:
        """Changes when any of theirs does."""
        return cache.digest("mixed", [source.fingerprint() for source in self.sources])
