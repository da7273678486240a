"""Score matching: how far a vector field s is from the score of data whose density nobody knows.

J = E |s(x) - grad log p(x)|^2 / 2 differs only by a constant from E [tr(ds/dx) + |s|^2 / 2] (Hyvarinen 2005),
whose trace is taken whole, along random directions (Song et al. 2019, "Sliced score matching"), or traded for
noise that was added (Vincent 2011). One value for each of B points; `score` maps points to vectors, each
point by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Score = Callable[[Tensor], Tensor]  # x [B ...] -> s(x) [B ...]


def exact(score: Score, x: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
    """tr(ds/dx) + |s|^2 / 2, by one backward pass for each dimension: for few of them."""
    x = x.detach().requires_grad_()
    s = score(x)
    flat = s.flatten(1)
    trace = torch.zeros_like(flat[:, 0])
    for i in range(flat.shape[1]):
        (row,) = torch.autograd.grad(flat[:, i].sum(), x, create_graph=True)
        trace = trace + row.flatten(1)[:, i]
    return trace + dot(s, s) / 2


def sliced(
    score: Score, x: Float[Tensor, "B ..."], v: Float[Tensor, "B ..."], *, variance_reduced: bool
) -> Float[Tensor, " B"]:
    """v^T (ds/dx) v + (v . s)^2 / 2 for random v with E[v v^T] = 1, by one backward pass (eq. 7).

    variance_reduced: |s|^2 / 2 in the place of (v . s)^2 / 2, which it is on average (eq. 8).
    """
    x = x.detach().requires_grad_()
    s = score(x)
    along = dot(v, s)
    (product,) = torch.autograd.grad(along.sum(), x, create_graph=True)
    square = dot(s, s) if variance_reduced else along.square()
    return dot(v, product) + square / 2


def denoising(
    score: Score, x: Float[Tensor, "B ..."], z: Float[Tensor, "B ..."], sigma: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """|s(x + sigma z) + z / sigma|^2 / 2: the score of N(x, sigma^2) is what is asked of s there."""
    deviation = sigma.view(-1, *[1] * (x.ndim - 1))
    error = score(x + deviation * z) + z / deviation
    return dot(error, error) / 2


def dot(a: Float[Tensor, "B ..."], b: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
    """Inner products."""
    return (a * b).flatten(1).sum(-1)
