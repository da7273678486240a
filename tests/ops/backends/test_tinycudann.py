"""hashgrid by tiny-cuda-nn, and by a stand-in that reads tables as tiny-cuda-nn does."""

import math

import pytest
import torch

from threestudio_like.ops.hashgrid import hashgrid

RESOLUTIONS = (4, 7, 17, 40)  # two dense and two hashed, in 2^10 rows


class Encoding(torch.nn.Module):
    """A grid of one level, written from tiny-cuda-nn's grid.h and common_device.h."""

    def __init__(self, num_inputs, config, dtype):
        super().__init__()
        assert num_inputs == 3 and config["n_levels"] == 1 and config["interpolation"] == "Linear"
        assert (config["otype"], config["type"]) == ("Grid", "Hash")
        self.features, self.dtype = config["n_features_per_level"], dtype
        self.scale = config["base_resolution"] - 1.0
        self.resolution = math.ceil(self.scale) + 1
        eights = -(-(self.resolution**3) // 8) * 8
        self.size = min(eights, 1 << config["log2_hashmap_size"])
        self.params = torch.nn.Parameter(torch.full((self.size * self.features,), torch.nan))

    def forward(self, points):
        rows = self.params.to(self.dtype).view(-1, self.features)
        position = points * self.scale + 0.5
        cell = position.detach().floor()
        assert cell.min() >= 0
        fraction, total = position - cell, 0
        for corner in range(8):
            offset = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2])
            x, y, z = (cell.long() + offset).unbind(-1)
            index = x + self.resolution * (y + self.resolution * z)
            if self.size < self.resolution**3:
                index = x ^ y * 2654435761 % 2**32 ^ z * 805459861 % 2**32
            weight = torch.where(offset == 1, fraction, 1 - fraction).prod(-1)
            total = total + weight[:, None] * rows[index % self.size]
        return total.to(self.dtype)


def case(features):
    generator = torch.Generator().manual_seed(0)
    points = 1.2 * torch.rand(300, 3, generator=generator) - 0.1
    points[:2] = torch.tensor([[0.0], [1.0]])
    return points, torch.rand(4, 2**10, features, generator=generator)


def check(found, expected):
    torch.testing.assert_close(found[0][0], expected[0][0], atol=1e-4, rtol=0)
    for one, other in zip(found[1], expected[1], strict=True):
        # at a face the gradient to a point is 0 there, since points are kept a little inside
        size = other.abs().max()
        torch.testing.assert_close(one / size, other / size, atol=1e-4, rtol=0)


def run(function, points, table):
    return function(points, table, RESOLUTIONS)


@pytest.mark.parametrize("features", [2, 4])
def test_a_stand_in_reads_the_same_rows(adapter, gradients, features):
    function = adapter("tinycudann", Encoding=Encoding).hashgrid
    points, table = case(features)
    check(
        gradients(lambda *args: run(function, *args), points[2:], table),
        gradients(lambda *args: run(hashgrid.reference, *args), points[2:], table),
    )
    faces = run(function, points[:2], table)
    torch.testing.assert_close(faces, run(hashgrid.reference, points[:2], table), atol=2e-4, rtol=0)


def test_other_tables_are_refused(adapter):
    function = adapter("tinycudann", Encoding=Encoding).hashgrid
    with pytest.raises(ValueError, match="tinycudann: 3 features in torch.float32"):
        run(function, *case(3))
    with pytest.raises(ValueError, match="2 features in torch.bfloat16"):
        points, table = case(2)
        run(function, points, table.bfloat16())


@pytest.mark.gpu
def test_the_package_agrees(gradients):
    pytest.importorskip("tinycudann")
    from threestudio_like.ops.backends.tinycudann import hashgrid as function

    points, table = case(2)
    check(
        gradients(lambda *args: run(function, *args), points[2:], table, device="cuda"),
        gradients(lambda *args: run(hashgrid.reference, *args), points[2:], table),
    )
