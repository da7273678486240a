"""Which implementation an op gets, and what a user is told who asks for one that is not there."""

import subprocess
import sys

import pytest
import torch

from threestudio_like.ops import dispatch


@pytest.fixture(autouse=True)
def _asked_for_nothing():
    yield
    dispatch.use("auto")


@pytest.fixture
def doubled(monkeypatch):
    """An op with a backend on the CPU that says so."""
    monkeypatch.setitem(dispatch.IMPLEMENTATIONS, "doubled", {"numba": __name__})
    monkeypatch.setattr(dispatch, "_load", lambda name, backend: from_backend)

    @dispatch.op
    def doubled(values, *, times=2):
        return "reference", values * times

    return doubled


def from_backend(values, *, times=2):
    return "backend", values * times


def test_the_body_is_the_reference_and_the_backend_stands_in_for_float32(doubled):
    ones = torch.ones(3)
    name, values = doubled(ones, times=3)
    assert name == "backend"
    assert torch.equal(values, 3 * ones)
    assert doubled(values=ones)[0] == "backend"
    assert doubled(ones.double())[0] == "reference"
    for half in (torch.float16, torch.bfloat16):
        name, values = doubled(values=ones.to(half))
        assert name == "backend" and values.dtype == torch.float32
    assert doubled.reference(ones)[0] == "reference"


def test_torch_asks_for_the_references_and_auto_for_the_backends(doubled):
    dispatch.use("torch")
    assert doubled(torch.ones(3))[0] == "reference"
    dispatch.use("numba")
    assert doubled(torch.ones(3))[0] == "backend"
    dispatch.use("auto")
    assert doubled(torch.ones(3))[0] == "backend"


def test_a_backend_does_not_run_on_another_device(doubled):
    assert dispatch.chosen("doubled", "cpu") == "numba"
    assert dispatch.chosen("doubled", "meta") == "torch"
    assert doubled(torch.ones(3, device="meta"))[0] == "reference"


def test_an_op_without_a_backend_is_its_reference():
    assert dispatch.chosen("unheard_of", "cpu") == "torch"


def test_an_unknown_backend_is_an_error_that_names_the_choices():
    with pytest.raises(ValueError, match="no backend 'cuda'; choose one of auto, torch, numba"):
        dispatch.use("cuda")


def test_an_absent_backend_is_an_error_that_says_how_to_get_it_and_auto_does_without(monkeypatch, doubled):
    absent = dispatch.Backend("cpu", "no_such_package", "pip install no-such-package")
    monkeypatch.setitem(dispatch.BACKENDS, "numba", absent)
    with pytest.raises(ValueError, match="numba is not installed; pip install no-such-package"):
        dispatch.use("numba")
    assert doubled(torch.ones(3))[0] == "reference"


def test_a_backend_of_another_device_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(dispatch, "installed", lambda backend: True)
    with pytest.raises(ValueError, match="triton is for CUDA, and torch finds no CUDA device"):
        dispatch.use("triton")


def test_other_projects_stand_in_where_they_are_asked_for_and_leave_the_other_ops_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(dispatch, "installed", lambda backend: backend != "triton")
    assert set(dispatch.table("cuda").values()) == {"torch"}
    dispatch.use("nvdiffrast")
    assert dispatch.chosen("antialias", "cuda") == "nvdiffrast"
    assert dispatch.chosen("antialias", "cpu") == "numba"
    monkeypatch.setattr(dispatch, "installed", lambda backend: True)
    assert dispatch.chosen("blend", "cuda") == "triton"
    assert dispatch.chosen("marching_tets", "cuda") == "torch"


def test_the_table_names_every_op():
    dispatch.use("torch")
    assert dispatch.table("cpu") == dict.fromkeys(dispatch.IMPLEMENTATIONS, "torch")


@pytest.mark.filterwarnings("ignore")  # that others' packages give when they are compiled
def test_every_implementation_can_be_imported():
    for name, backends in dispatch.IMPLEMENTATIONS.items():
        for backend in filter(dispatch.installed, backends):
            assert dispatch._load(name, backend).__name__ == name


def test_importing_ops_imports_no_backend():
    ops = "camera, hashgrid, mesh, raster"
    check = f"import sys; from threestudio_like.ops import {ops}; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
