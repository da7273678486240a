"""Dots and arrows fall where they belong: x to the right, y up."""

import torch

from threestudio_like.loggers.plane import arrows, lattice, scatter


def ink(picture: torch.Tensor) -> torch.Tensor:
    """Rows and columns of what is dark."""
    return (picture.sum(-1) < 1.5).nonzero().float()


def test_a_dot():
    picture = scatter(torch.tensor([[0.5, 0.5]]), 200)
    assert picture.shape == (200, 200, 3) and picture.min() >= 0 and picture.max() == 1
    torch.testing.assert_close(ink(picture).mean(0), torch.tensor([50.0, 150.0]), atol=1.0, rtol=0)


def test_arrows_point_along_their_vectors_and_the_strongest_reaches_furthest():
    points = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
    field = torch.tensor([[4.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    dark = ink(arrows(points, field, 200))
    right = dark[(dark[:, 0] > 140) & (dark[:, 1] < 155) & (dark[:, 0] < 160)]
    assert right[:, 1].max() > 140  # from column 50, almost a lattice's step of 100
    up = dark[((dark[:, 1] - 150).abs() < 2) & (dark[:, 0] > 60)]
    assert 95 < up[:, 0].min() < 110  # half as long: the root of a quarter


def test_lattice():
    assert lattice(2).tolist() == [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
