"""A hash grid for a test: four levels, all open, small enough to be trained in a moment."""

from typing import Any

from threestudio_like.fields.hashgrid import HashGrid


def small_hashgrid(**changes: Any) -> HashGrid:
    """Of 4 to 16 cells a side; settings may be other ones."""
    values = {"num_levels": 4, "features_per_level": 2, "log2_table": 10, "base_resolution": 4}
    return HashGrid(**{**values, "finest_resolution": 16, "opened": None, **changes})
