"""Reading against texels picked by hand; filling against what a hole must become."""

import math

import numpy as np
import pytest
import torch

from threestudio_like.ops.raster import attribute_derivatives, interpolate, rasterize, screen_derivatives
from threestudio_like.ops.texture import fill, mip_level, pyramid, sample

pytestmark = pytest.mark.usefixtures("either")


def test_texel_centres_read_their_texel_and_v_runs_up():
    texture = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0))
    row, column = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    uv = torch.stack([(column + 0.5) / 4, 1 - (row + 0.5) / 3], dim=-1)
    assert torch.allclose(sample(texture, uv), texture, atol=1e-6)


def test_halfway_between_texels_is_their_mean_and_edges_clamp():
    texture = torch.tensor([[[0.0], [1.0]], [[2.0], [5.0]]])
    assert sample(texture, torch.tensor([[0.5, 0.5]])).item() == pytest.approx(2.0)
    assert sample(texture, torch.tensor([0.0, 1.0])).item() == pytest.approx(0.0)
    assert sample(texture, torch.tensor([1.0, 0.0])).item() == pytest.approx(5.0)


def blobs(height: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)


def points(count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Inside the picture and beyond it."""
    return 3 * torch.rand(count, 2, generator=torch.Generator().manual_seed(1), dtype=dtype) - 1


def footprint(texels: float, height: int, width: int) -> torch.Tensor:
    """derivatives of a square pixel that covers `texels` each way, turned by some angle."""
    across, along = texels * math.cos(0.4), texels * math.sin(0.4)
    return torch.tensor([[across / width, -along / width], [along / height, across / height]])


def read_by_hand(
    texture: np.ndarray, u: float, v: float, derivatives: np.ndarray, boundary: str
) -> np.ndarray:
    """One point: the level by the singular values of the Jacobian, eight texels one by one."""
    height, width, _ = texture.shape
    jacobian = derivatives * np.array([[width], [height]])
    level = max(0.0, math.log2(max(np.linalg.svd(jacobian)[1].max(), 1e-9)))
    chain = [texture]
    while max(chain[-1].shape[:2]) > 1:
        h, w = (max(side // 2, 1) for side in chain[-1].shape[:2])
        last, means = chain[-1], np.zeros((h, w, texture.shape[-1]))
        down, over = last.shape[0] // h, last.shape[1] // w
        for r in range(h):
            for c in range(w):
                means[r, c] = last[down * r : down * (r + 1), over * c : over * (c + 1)].mean((0, 1))
        chain.append(means)
    level = min(level, len(chain) - 1)
    total = np.zeros(texture.shape[-1])
    for number, share in ((math.floor(level), 1 - level % 1), (math.ceil(level), level % 1)):
        picture = chain[number]
        h, w, _ = picture.shape
        x, y = u * w - 0.5, (1 - v) * h - 0.5
        for r in (math.floor(y), math.floor(y) + 1):
            for c in (math.floor(x), math.floor(x) + 1):
                part = share * (1 - abs(x - c)) * (1 - abs(y - r))
                row, column = (
                    (r % h, c % w) if boundary == "wrap" else (np.clip(r, 0, h - 1), np.clip(c, 0, w - 1))
                )
                total += part * picture[row, column]
    return total


@pytest.mark.parametrize("boundary", ["clamp", "wrap"])
def test_trilinear_reading_is_that_of_eight_texels_by_hand(boundary):
    texture, uv = blobs(16, 32), points(60)
    derivatives = (
        torch.randn(60, 2, 2, generator=torch.Generator().manual_seed(2))
        * torch.logspace(-3, 0.5, 60)[:, None, None]
    )
    found = sample(texture, uv, derivatives, boundary)
    for i in range(60):
        expected = read_by_hand(texture.numpy(), *uv[i].tolist(), derivatives[i].numpy(), boundary)
        assert np.allclose(found[i].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("boundary", ["clamp", "wrap"])
def test_a_constant_texture_is_constant_at_every_level(boundary):
    texture = torch.tensor([0.2, 0.5, 0.9]).expand(8, 16, 3)
    derivatives = torch.randn(50, 2, 2) * torch.logspace(-3, 1, 50)[:, None, None]
    assert torch.allclose(
        sample(texture, points(50), derivatives, boundary), texture[0, 0].expand(50, 3), atol=1e-6
    )


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_footprint_of_a_power_of_two_reads_that_level_alone(level):
    texture, uv = blobs(32, 16), points(40)
    derivatives = footprint(2.0**level, 32, 16).expand(40, 2, 2)
    assert torch.allclose(mip_level(derivatives, 32, 16), torch.tensor(float(level)), atol=1e-5)
    expected = sample(pyramid(texture)[level], uv)
    assert torch.allclose(sample(texture, uv, derivatives), expected, atol=1e-5)


def test_between_two_levels_both_count_as_their_distance_in_octaves():
    texture, uv = blobs(16, 16), points(20)
    found = sample(texture, uv, footprint(2**1.25, 16, 16).expand(20, 2, 2))
    one, two = (sample(level, uv) for level in pyramid(texture)[1:3])
    assert torch.allclose(found, 0.75 * one + 0.25 * two, atol=1e-5)


def test_the_longest_axis_of_the_footprint_decides():
    """8 texels by 1: an isotropic filter blurs the short way too, rather than alias the long way."""
    short_and_long = torch.tensor([[[1 / 64, 0.0], [0.0, 8 / 32]]])
    assert float(mip_level(short_and_long, 32, 64)) == pytest.approx(3.0)


def test_magnification_reads_the_finest_level():
    texture, uv = blobs(8, 8), points(30)
    assert torch.equal(sample(texture, uv, footprint(0.3, 8, 8).expand(30, 2, 2)), sample(texture, uv))
    assert torch.equal(sample(texture, uv, torch.zeros(30, 2, 2)), sample(texture, uv))


def test_a_footprint_of_the_whole_texture_is_its_mean():
    texture = blobs(32, 8)
    found = sample(texture, points(10), footprint(1e4, 32, 8).expand(10, 2, 2))
    assert torch.allclose(found, texture.mean((0, 1)).expand(10, 3), atol=1e-6)


def test_wrapping_repeats_the_texture_without_a_seam():
    texture, uv = blobs(8, 4), points(30)
    assert torch.allclose(sample(texture, uv, None, "wrap"), sample(texture, uv + 3, None, "wrap"), atol=1e-5)
    edge = sample(texture, torch.tensor([[0.0, 0.5 + 0.5 / 8]]), None, "wrap")
    assert torch.allclose(edge[0], (texture[3, 0] + texture[3, -1]) / 2, atol=1e-6)


def test_halves_end_at_one_texel_or_where_a_side_is_odd():
    assert [tuple(level.shape) for level in pyramid(torch.rand(8, 2, 3))] == [
        (8, 2, 3),
        (4, 1, 3),
        (2, 1, 3),
        (1, 1, 3),
    ]
    assert [len(level) for level in pyramid(torch.rand(12, 24, 1))] == [12, 6, 3]


def test_an_unknown_boundary_is_refused():
    with pytest.raises(ValueError, match="clamp or wrap"):
        sample(blobs(4, 4), points(1), None, "mirror")


@pytest.mark.parametrize("boundary", ["clamp", "wrap"])
def test_gradients(boundary):
    texture = blobs(2, 4, torch.float64).requires_grad_()
    uv = points(8, torch.float64).requires_grad_()
    shape = torch.randn(8, 2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    derivatives = (shape * torch.logspace(-2, 0, 8, dtype=torch.float64)[:, None, None]).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, p: sample(t, p, None, boundary), (texture, uv))
    assert torch.autograd.gradcheck(lambda t, p, d: sample(t, p, d, boundary), (texture, uv, derivatives))


def test_gradients_are_finite_where_footprints_are_circles_or_nothing():
    derivatives = torch.stack([torch.zeros(2, 2), 0.4 * torch.eye(2)]).requires_grad_()
    sample(blobs(8, 8), points(2), derivatives).sum().backward()
    assert (
        derivatives.grad.isfinite().all()
        and (derivatives.grad[0] == 0).all()
        and (derivatives.grad[1] != 0).any()
    )


def test_fill_keeps_what_is_known_and_reaches_everywhere():
    texture = torch.rand(37, 53, 3)
    known = torch.rand(37, 53) < 0.02
    filled = fill(texture, known, 3)
    assert torch.equal(filled[known], texture[known])
    low, high = texture[known].amin(0), texture[known].amax(0)
    assert (filled >= low - 1e-5).all() and (filled <= high + 1e-5).all()


def test_fill_of_two_constant_halves_stays_sharp_within_the_margin():
    texture, known = torch.zeros(32, 64, 1), torch.zeros(32, 64, dtype=torch.bool)
    known[10:20, 4:20] = known[10:20, 40:60] = True
    texture[:, 32:] = 1.0
    texture[~known] = 7.0  # must never be read
    filled = fill(texture, known, 4)
    assert torch.equal(filled[10:20, 20:24], torch.zeros(10, 4, 1))
    assert torch.equal(filled[10:20, 36:40], torch.ones(10, 4, 1))
    assert filled.max() <= 1.0


def test_fill_of_one_known_texel_is_constant():
    texture, known = torch.zeros(9, 5, 3), torch.zeros(9, 5, dtype=torch.bool)
    texture[8, 4], known[8, 4] = torch.tensor([0.2, 0.4, 0.6]), True
    assert torch.allclose(fill(texture, known, 1), torch.tensor([0.2, 0.4, 0.6]).expand(9, 5, 3), atol=1e-6)


def test_a_checkerboard_to_the_horizon_aliases_less():
    """The ground below a camera that looks ahead, 48 x 64 pixels, against 16 x 16 samples a pixel."""
    height, width, finer = 48, 64, 16
    corners = torch.tensor([[-30.0, 0.5], [30.0, 0.5], [30.0, 60.0], [-30.0, 60.0]])  # right, ahead
    w = corners[:, 1:]
    z = (w * 60.1 - 2 * 60 * 0.1) / 59.9
    positions = torch.cat([corners[:, :1], torch.full_like(w, 0.4), z, w], dim=-1)[None]
    faces, uv = torch.tensor([[0, 1, 2], [0, 2, 3]]), corners / 4
    board = (torch.arange(32)[:, None] // 2 + torch.arange(32) // 2).remainder(2).float()[..., None]

    def drawn(scale: int, filtered: bool) -> tuple[torch.Tensor, torch.Tensor]:
        fragments = rasterize(positions, faces, height * scale, width * scale)
        slopes = screen_derivatives(positions, faces, fragments)
        slopes = attribute_derivatives(uv, slopes, fragments, faces) if filtered else None
        return sample(board, interpolate(uv, fragments, faces), slopes, "wrap")[0, ..., 0], fragments.face[0]

    fine, _ = drawn(finer, False)
    truth = fine.reshape(height, finer, width, finer).mean((1, 3))
    plain, face = drawn(1, False)
    filtered, _ = drawn(1, True)
    rows = torch.arange(height)[:, None].expand(height, width)
    whole = (face >= 0) & (rows < height - 1) & (rows > rows[face >= 0].min())  # pixels all on the ground
    far = whole & (rows < rows[whole].min() + 4)
    error = [((image - truth)[whole] ** 2).mean() for image in (plain, filtered)]
    assert error[1] < error[0] / 4
    # where a pixel holds many squares, whatever is not grey is alias
    alias = [((image - 0.5)[far] ** 2).mean() for image in (plain, filtered)]
    assert alias[0] > 0.1 and alias[1] < alias[0] / 1000
