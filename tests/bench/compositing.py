"""Compositing along rays, forward and backward, and drawing distances from weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from nerfstudio_peer import nerfstudio
from timing import Contest, gradients, peer, rows, table
from torch import Tensor

from threestudio_like.ops.march import importance
from threestudio_like.ops.volume import composite, weights_from_density

RAYS, SAMPLES = 4096, 64


def compositing(num_rays: int, num_samples: int) -> Contest:
    """From densities and colours to pixels."""
    generator = torch.Generator().manual_seed(0)
    density = (20 * torch.rand(num_rays, num_samples, generator=generator) ** 4).requires_grad_()
    colors = torch.rand(num_rays, num_samples, 3, generator=generator).requires_grad_()
    edges = torch.rand(num_rays, num_samples + 1, generator=generator).sort(dim=-1).values
    starts, ends = edges[:, :-1].contiguous(), edges[:, 1:].contiguous()
    slope = torch.randn(num_rays, 3, generator=generator)

    def side(render: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: gradients(render(), slope, [density, colors])

    def reference() -> Tensor:
        return composite.reference(weights_from_density.reference(density, ends - starts), colors)

    sides: dict[str, Callable[[], Any]] = {
        "ours": side(lambda: composite(weights_from_density(density, ends - starts), colors)),
        "ours, torch": side(reference),
    }
    if peer("nerfacc"):
        from nerfacc import accumulate_along_rays, render_weight_from_density

        def dense() -> Tensor:
            return accumulate_along_rays(render_weight_from_density(starts, ends, density)[0], colors)

        sides["nerfacc, dense"] = side(dense)
    return Contest(f"compositing, {num_rays} x {num_samples}", sides)


def resampling(num_rays: int, num_samples: int) -> Contest:
    """As many distances drawn by inverse CDF as there are weights; ours is torch."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(num_rays, num_samples, generator=generator)
    edges = torch.linspace(0, 1, num_samples + 1).expand(num_rays, -1).contiguous()
    sides: dict[str, Callable[[], Any]] = {"ours": lambda: importance(edges, weights, num_samples)}
    samplers, cameras = nerfstudio("model_components.ray_samplers"), nerfstudio("cameras.rays")
    if samplers and cameras:
        ones, zeros = torch.ones(num_rays, 1), torch.zeros(num_rays, 3)
        bundle = cameras.RayBundle(zeros, zeros + 1, ones, nears=0 * ones, fars=ones)
        before = bundle.get_ray_samples(
            edges[:, :-1, None], edges[:, 1:, None], edges[:, :-1, None], edges[:, 1:, None], lambda x: x
        )
        # its n + 1 edges are ours, one more
        sampler = samplers.PDFSampler(num_samples - 1, include_original=False, histogram_padding=0.0).eval()
        sides["nerfstudio, torch"] = lambda: sampler(bundle, before, weights[..., None])
    return Contest(f"importance sampling, {num_rays} x {num_samples}", sides)


def contests() -> Iterator[Contest]:
    """At the size of a small picture."""
    yield compositing(RAYS, SAMPLES)
    yield resampling(RAYS, SAMPLES)


if __name__ == "__main__":
    print(table(rows(contests())))
