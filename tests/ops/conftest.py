"""Ops by the backend that `auto` gives them, and by their references."""

import pytest

from threestudio_like.ops import dispatch


@pytest.fixture(params=["auto", "torch"])
def either(request):
    """Runs a test twice: float32 would never reach a reference otherwise."""
    dispatch.use(request.param)
    yield
    dispatch.use("auto")
