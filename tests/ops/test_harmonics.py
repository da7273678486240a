"""Spherical harmonics against what defines them."""

import math

import numpy as np
import pytest
import torch

from threestudio_like.ops.harmonics import basis, evaluate

DOUBLE = torch.float64


def random_directions(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=DOUBLE), dim=-1)


def quadrature():
    """Points and weights on the sphere that integrate polynomials up to degree 7 exactly."""
    heights, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(4))
    angles = torch.arange(8, dtype=DOUBLE) * 2 * math.pi / 8
    z, phi = torch.meshgrid(heights, angles, indexing="ij")
    flat = (1 - z * z).sqrt()
    points = torch.stack([flat * phi.cos(), flat * phi.sin(), z], dim=-1).reshape(-1, 3)
    return points, (weights[:, None] * 2 * math.pi / 8).expand_as(z).reshape(-1)


def test_orthonormal_over_the_sphere():
    points, weights = quadrature()
    values = basis(points, 3)
    products = torch.einsum("n,ni,nj->ij", weights, values, values)
    torch.testing.assert_close(products, torch.eye(16, dtype=DOUBLE), atol=1e-12, rtol=0)


def test_addition_theorem():
    """The sum over one degree depends on the angle alone: it is that degree's Legendre polynomial."""
    one, other = random_directions(50, 0), random_directions(50, 1)
    products = basis(one, 3) * basis(other, 3)
    cosine = (one * other).sum(-1).numpy()
    for degree in range(4):
        legendre = np.polynomial.legendre.Legendre.basis(degree)(cosine) * (2 * degree + 1) / (4 * math.pi)
        found = products[:, degree**2 : (degree + 1) ** 2].sum(-1)
        torch.testing.assert_close(found, torch.from_numpy(legendre))


def test_order_and_signs_are_those_of_gaussian_files():
    """Numbers as such files' readers have them, at one direction."""
    x, y, z = 0.48, -0.6, 0.64
    expected = [0.28209479, *(0.48860251 * v for v in (-y, z, -x))]
    expected += [1.09254843 * x * y, -1.09254843 * y * z, 0.31539157 * (3 * z * z - 1)]
    expected += [-1.09254843 * x * z, 0.54627422 * (x * x - y * y)]
    expected += [-0.59004359 * y * (3 * x * x - y * y), 2.89061144 * x * y * z]
    expected += [-0.45704580 * y * (5 * z * z - 1), 0.37317633 * z * (5 * z * z - 3)]
    expected += [-0.45704580 * x * (5 * z * z - 1), 1.44530572 * z * (x * x - y * y)]
    expected += [-0.59004359 * x * (x * x - 3 * y * y)]
    found = basis(torch.tensor([x, y, z], dtype=DOUBLE), 3)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=DOUBLE), atol=1e-7, rtol=0)


def test_evaluate_adds_up_the_degrees_asked_for():
    directions, coefficients = random_directions(5, 0), torch.randn(5, 16, 3, dtype=DOUBLE)
    for degree in range(4):
        count = (degree + 1) ** 2
        expected = (basis(directions, 3)[:, :count, None] * coefficients[:, :count]).sum(1)
        torch.testing.assert_close(evaluate(coefficients, directions, degree), expected)
    constant = evaluate(coefficients, directions, 0)
    torch.testing.assert_close(constant, coefficients[:, 0] / math.sqrt(4 * math.pi))


def test_gradients_pass_gradcheck():
    directions = random_directions(3, 2).requires_grad_()
    coefficients = torch.randn(3, 16, 2, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, d: evaluate(c, d, 3), (coefficients, directions))


def test_a_degree_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="degree 4 is not in 0..3"):
        basis(torch.zeros(1, 3), 4)
