"""Real spherical harmonics up to degree 3: colour that depends on the direction (Ramamoorthi et al. 2001).

In the order, and with the signs (those of Condon and Shortley), of files of Gaussians: l from 0 up and m from
-l to l, so that degree 1 is (-y, z, -x). They are orthonormal over the unit sphere.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

MAX_DEGREE = 3


def basis(directions: Float[Tensor, "*n 3"], degree: int) -> Float[Tensor, "*n K"]:
    """The K = (degree + 1)^2 harmonics in unit `directions`; a ValueError beyond degree 3."""
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"spherical harmonics: degree {degree} is not in 0..{MAX_DEGREE}")
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    terms = [
        (1, torch.ones_like(x)),
        *[(3, -y), (3, z), (3, -x)],
        *[(15, x * y), (15, -y * z), (5 / 4, 2 * zz - xx - yy), (15, -x * z), (15 / 4, xx - yy)],
        *[(35 / 8, -y * (3 * xx - yy)), (105, x * y * z), (21 / 8, -y * (4 * zz - xx - yy))],
        (7 / 4, z * (2 * zz - 3 * xx - 3 * yy)),
        *[(21 / 8, -x * (4 * zz - xx - yy)), (105 / 4, z * (xx - yy)), (35 / 8, -x * (xx - 3 * yy))],
    ]
    return torch.stack(
        [math.sqrt(c / (4 * math.pi)) * term for c, term in terms[: (degree + 1) ** 2]], dim=-1
    )


def evaluate(
    coefficients: Float[Tensor, "*n K C"], directions: Float[Tensor, "*n 3"], degree: int
) -> Float[Tensor, "*n C"]:
    """The function with these coefficients, of which only those up to `degree` count, in `directions`."""
    values = basis(directions, degree)
    return torch.einsum("...k,...kc->...c", values, coefficients[..., : values.shape[-1], :])
