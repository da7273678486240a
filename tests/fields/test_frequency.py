"""The encoding by sines and cosines."""

from __future__ import annotations

import math

import torch

from threestudio_like.fields.frequency import Frequency


def test_against_the_formula():
    encoding = Frequency(num_bands=3)
    points = torch.rand(5, 3, dtype=torch.float64)
    out = encoding(points)
    assert out.shape == (5, encoding.num_outputs)
    for n, point in enumerate((points * 2 - 1).tolist()):
        expected = points[n].tolist()
        for band in range(3):
            expected += [wave(2**band * math.pi * x) for wave in (math.sin, math.cos) for x in point]
        torch.testing.assert_close(out[n], torch.tensor(expected, dtype=torch.float64))
