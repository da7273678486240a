"""What is kept of CPU kernels: their machine code, until a source changes; memory, and who may see it."""

import importlib.util

import torch

from threestudio_like.ops.backends.numba.kernels import lent, sources
from threestudio_like.ops.hashgrid import hashgrid


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_lent_again_once_it_is_dropped_and_never_to_two_at_a_time():
    first, second = lent(300, 400), lent(300, 400)
    assert address(first) != address(second)
    kept = address(first)
    del first
    third = lent(100, 7, 3)
    assert address(third) == kept and third.shape == (100, 7, 3)
    del second, third
    assert lent(500, 400).size == 200_000  # more than any before


def test_a_graph_that_is_kept_is_read_twice_with_other_passes_between():
    generator = torch.Generator().manual_seed(0)
    points, others = (torch.rand(50, 3, generator=generator).requires_grad_() for _ in range(2))
    table = torch.randn(2, 64, 2, generator=generator)
    out = hashgrid(points, table, (4, 8)).square().sum()
    (once,) = torch.autograd.grad(out, points, retain_graph=True)
    hashgrid(others, table, (4, 8)).sum().backward()
    held = hashgrid(others, table, (4, 8))
    (again,) = torch.autograd.grad(out, points)
    assert torch.equal(once, again) and held.grad_fn is not None


def test_another_file_s_constant_makes_another_name(tmp_path):
    (tmp_path / "backends").mkdir()
    (tmp_path / "splat.py").write_text("DILATION = 0.3\n")
    (tmp_path / "backends" / "blend.py").write_text("")
    before = sources(tmp_path)
    sources.cache_clear()
    assert sources(tmp_path) == before
    (tmp_path / "splat.py").write_text("DILATION = 0.0\n")
    sources.cache_clear()
    assert sources(tmp_path) != before


def test_machine_code_is_kept_under_the_name_of_all_sources(tmp_path):
    file = tmp_path / "one.py"
    file.write_text(
        "from threestudio_like.ops.backends.numba.kernels import kernel\n"
        "@kernel\ndef add(first, step):\n    return first + step\n"
    )
    spec = importlib.util.spec_from_file_location("one", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.add(1, 2) == 3
    kept = list((tmp_path / "__pycache__").glob("*.nbi"))
    assert len(kept) == 1 and sources() in kept[0].name
