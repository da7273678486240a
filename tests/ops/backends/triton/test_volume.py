"""Compositing by Triton: rays longer than a program's lanes, empty rays, opaque samples."""

import torch

from threestudio_like.ops import dispatch, volume


def samples(count):
    """Opacities (some 1), densities and lengths, and values."""
    generator = torch.Generator().manual_seed(count)
    alpha, density, delta = torch.rand(3, count, generator=generator)
    alpha = torch.where(torch.arange(count) % 17 == 16, 1.0, 0.3 * alpha)
    return alpha, 20 * density, 0.1 * delta, torch.rand(count, 3, generator=generator)


def packed():
    """The same of 6 rays of 40, 0, 3, 0, 64 and 1 samples."""
    ray = torch.tensor([0] * 40 + [2] * 3 + [4] * 64 + [5])
    return *samples(len(ray)), ray


def test_packed_weights(agrees):
    alpha, density, delta, _, ray = packed()
    agrees(volume.packed_weights_from_alpha, alpha, ray, 6)
    agrees(volume.packed_weights_from_density, density, delta, ray, 6)


def test_packed_sums(agrees):
    alpha, _, _, values, ray = packed()
    agrees(volume.packed_sum, alpha, values, ray, 6)


def test_rows(agrees):
    alpha, density, delta, values = (part.unflatten(0, (3, 33)) for part in samples(99))
    agrees(volume.weights_from_alpha, alpha)
    agrees(volume.weights_from_density, density, delta)
    agrees(volume.composite, alpha, values)


def test_thin_samples_keep_their_digits(device):
    """1 - exp(-tau), taken at its word, has none left."""
    tau = torch.logspace(-9, 1, 60)[:, None].to(device)
    weights = dispatch._load("weights_from_density", "triton")(tau, torch.ones_like(tau))
    torch.testing.assert_close(weights, -torch.expm1(-tau), rtol=2e-6, atol=0)


def test_no_samples(device):
    none, ray = torch.empty(0, device=device), torch.empty(0, dtype=torch.int64, device=device)
    assert dispatch._load("packed_weights_from_alpha", "triton")(none, ray, 3).shape == (0,)
    sums = dispatch._load("packed_sum", "triton")(none, none[:, None], ray, 3)
    assert torch.equal(sums, torch.zeros(3, 1, device=device))
