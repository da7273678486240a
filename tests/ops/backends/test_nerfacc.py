"""Compositing along packed rays by nerfacc, and by a stand-in of its signatures."""

import pytest
import torch

from threestudio_like.ops import dispatch, volume


def rays(values, ray_indices, n_rays):
    """Its samples, ray by ray."""
    return [values[ray_indices == n] for n in range(n_rays)]


def render_weight_from_alpha(alphas, packed_info=None, ray_indices=None, n_rays=None):
    through = [torch.cumprod(1 - ray, 0) / (1 - ray) for ray in rays(alphas, ray_indices, n_rays)]
    return torch.cat(through) * alphas, torch.cat(through)


def render_weight_from_density(t_starts, t_ends, sigmas, packed_info=None, ray_indices=None, n_rays=None):
    tau = sigmas * (t_ends - t_starts)
    through = torch.cat([torch.exp(ray - ray.cumsum(0)) for ray in rays(tau, ray_indices, n_rays)])
    alphas = 1.0 - torch.exp(-tau)
    return through * alphas, through, alphas


def accumulate_along_rays(weights, values=None, ray_indices=None, n_rays=None):
    sums = [ray.sum(0) for ray in rays(weights[:, None] * values, ray_indices, n_rays)]
    return torch.stack(sums)


STAND_INS = (render_weight_from_alpha, render_weight_from_density, accumulate_along_rays)


def cases():
    """Of 5 rays, one of them empty; nothing opaque, nothing thin."""
    generator = torch.Generator().manual_seed(0)
    ray = torch.tensor([0] * 9 + [1] * 3 + [3] * 20 + [4])
    alpha, density, delta = torch.rand(3, len(ray), generator=generator) * 0.9 + 0.05
    values = torch.rand(len(ray), 3, generator=generator)
    return {
        "packed_weights_from_alpha": (alpha,),
        "packed_weights_from_density": (density, delta),
        "packed_sum": (alpha, values),
    }, ray


def check(module, gradients, device):
    tensors, ray = cases()
    for name, inputs in tensors.items():
        function, reference = getattr(module, name), getattr(volume, name).reference
        found = gradients(lambda *args, f=function: f(*args, ray.to(device), 5), *inputs, device=device)
        expected = gradients(lambda *args, f=reference: f(*args, ray, 5), *inputs)
        for one, other in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_stand_ins_agree(adapter, gradients):
    dispatch.use("torch")  # a reference may call another op
    try:
        check(adapter("nerfacc", **{f.__name__: f for f in STAND_INS}), gradients, "cpu")
    finally:
        dispatch.use("auto")


@pytest.mark.gpu
def test_the_package_agrees(gradients):
    pytest.importorskip("nerfacc")
    from threestudio_like.ops.backends import nerfacc

    check(nerfacc, gradients, "cuda")
