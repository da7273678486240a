"""Backends on the CPU agree with the references, in values and in gradients, and to the bit with themselves.

Those on CUDA have their tests in backends/.
"""

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from threestudio_like.ops import (
    dispatch,
    hashgrid,
    isosurface,
    march,
    occupancy,
    raster,
    splat,
    texture,
    volume,
)
from threestudio_like.ops.camera import crop, orbit


def blobs(num_views):
    """Clip positions of a bumpy closed surface and of loose triangles before, in and behind each camera."""
    generator = torch.Generator().manual_seed(num_views)
    rings, around = 14, 18
    theta = (torch.arange(rings) + 0.5) * torch.pi / rings
    phi = torch.arange(around) * 2 * torch.pi / around
    x, y = theta.sin()[:, None] * phi.cos(), theta.sin()[:, None] * phi.sin()
    surface = torch.stack([x, y, theta.cos()[:, None].expand_as(x)], dim=-1).reshape(-1, 3)
    surface = surface * (0.5 + 0.3 * torch.rand(len(surface), 1, generator=generator))
    i, j = torch.meshgrid(torch.arange(rings - 1), torch.arange(around), indexing="ij")
    a, b = (i * around + j).reshape(-1), (i * around + (j + 1) % around).reshape(-1)
    faces = torch.cat([torch.stack([a, a + around, b], 1), torch.stack([b, a + around, b + around], 1)])
    loose = 3 * torch.rand(60, 3, generator=generator) - 1.5
    faces = torch.cat([faces, torch.arange(60).reshape(-1, 3) + len(surface), faces[:3].flip(1)])
    vertices = torch.cat([surface, loose])
    turns = torch.linalg.qr(torch.randn(num_views, 3, 3, generator=generator)).Q
    xyz = vertices @ turns + torch.tensor([0.0, 0.0, 1.6])
    clip_z = xyz[..., 2:] * 10.2 / 9.8 - 2.0 / 9.8
    return torch.cat([2 * xyz[..., :2], clip_z, xyz[..., 2:]], dim=-1), faces


def rasterize_case(num_views):
    positions, faces = blobs(num_views)
    return positions, faces, 33, 47


def interpolate_case(num_views, shared):
    positions, faces, height, width = rasterize_case(num_views)
    fragments = raster.rasterize.reference(positions, faces, height, width)
    attributes = torch.rand(*([] if shared else [num_views]), positions.shape[1], 5)
    return attributes, fragments, faces


def screen_derivatives_case(num_views):
    positions, faces, height, width = rasterize_case(num_views)
    faces = faces[:-23]  # without the loose ones: where one is seen from its rim derivatives have no bound
    return positions, faces, raster.rasterize.reference(positions, faces, height, width)


def attribute_derivatives_case(num_views, shared):
    attributes, fragments, faces = interpolate_case(num_views, shared)
    return attributes, torch.randn(*fragments.face.shape, 4), fragments, faces


def antialias_case(num_views):
    positions, faces, height, width = rasterize_case(num_views)
    fragments = raster.rasterize.reference(positions, faces, height, width)
    return torch.rand(num_views, height, width, 4), fragments, positions, faces


def hashgrid_case():
    return torch.rand(500, 3), torch.rand(4, 2**10, 2), (4, 9, 17, 40)


def marching_case(resolution):
    """Noise: every case of a tetrahedron, and vertices where the distance is 0."""
    grid = isosurface.lattice(resolution)
    generator = torch.Generator().manual_seed(resolution)
    moved = grid.vertices + 0.2 / resolution * torch.randn(grid.vertices.shape, generator=generator)
    size = 0.1 + torch.rand(len(moved), generator=generator)  # gradients grow without bound towards 0
    sdf = size * torch.randn(len(moved), generator=generator).sign()
    sdf[::50] = 0.0
    return moved, sdf, grid


def dense_samples(num_rays, num_samples):
    """Opacities (some 1), densities and lengths, and values, of rays by samples."""
    alpha, density, delta = torch.rand(3, num_rays, num_samples)
    alpha[:, ::7] = 1.0
    return alpha, 20 * density, 0.1 * delta, torch.rand(num_rays, num_samples, 3)


def packed_samples():
    """The same of 50 rays, some of them empty; and which ray each is on."""
    ray = torch.randint(50, (700,)).sort().values
    alpha, density, delta, values = (part[0] for part in dense_samples(1, len(ray)))
    return alpha, density, delta, values, torch.where(ray == 7, 8, ray)


def packed_case(*parts):
    """Some parts of packed samples, as arguments."""
    samples = packed_samples()
    return *(samples[part] for part in parts), samples[4], 50


def sample_case(filtered, boundary):
    generator = torch.Generator().manual_seed(0)
    uv = 3 * torch.rand(20, 30, 2, generator=generator) - 1
    spread = torch.logspace(-3, 0, 30)[:, None, None]
    derivatives = torch.randn(20, 30, 2, 2, generator=generator) * spread if filtered else None
    return torch.rand(16, 32, 3, generator=generator), uv, derivatives, boundary


def march_case(resolution):
    """Rays from around and from within, some beside the box or along an axis; a few balls are occupied."""
    origins = 2 * torch.nn.functional.normalize(torch.randn(300, 3), dim=-1)
    origins[:50] *= 0.2
    directions = torch.nn.functional.normalize(0.6 * torch.randn(300, 3) - origins, dim=-1)
    directions[:9] = torch.eye(3).repeat(3, 1)
    near, far, _ = march.intersect_box(origins, directions, 0.8)
    cells = torch.cartesian_prod(*[torch.arange(resolution)] * 3).float()
    balls = resolution * torch.rand(5, 3)
    grid = (torch.cdist(cells, balls) < 0.12 * resolution).any(1).view(*[resolution] * 3)
    return origins, directions, near, far, grid, 0.8, 0.011, torch.rand(300)


def project_case(num_views):
    """Some are behind the camera, some beside the picture; the last camera looks off its middle."""
    generator = torch.Generator().manual_seed(num_views)
    angles = torch.arange(num_views, dtype=torch.float32)
    camera = orbit(
        azimuth=angles,
        elevation=0.3 * angles,
        distance=torch.full_like(angles, 1.5),
        fov_y=torch.full_like(angles, 0.9),
        height=41,
        width=53,
    )
    camera = crop(camera, 3 * num_views - 3, 5, 37, 43)
    means = 3 * torch.rand(150, 3, generator=generator) - 1.5
    scales = 0.2 * torch.rand(150, 3, generator=generator) + 0.01
    return means, scales, torch.randn(150, 4, generator=generator), camera, 0.2


def blend_case(num_views, channels):
    *gaussians, camera, near = project_case(num_views)
    opacities = torch.linspace(0, 1, 150)
    prints = splat.project.reference(*gaussians, camera, near)
    return prints, opacities, torch.rand(num_views, 150, channels), camera.height, camera.width


CASES = {
    "rasterize": [lambda: rasterize_case(1), lambda: rasterize_case(3)],
    "interpolate": [
        lambda: interpolate_case(1, True),
        lambda: interpolate_case(3, True),
        lambda: interpolate_case(3, False),
    ],
    "screen_derivatives": [lambda: screen_derivatives_case(1), lambda: screen_derivatives_case(3)],
    "attribute_derivatives": [
        lambda: attribute_derivatives_case(1, True),
        lambda: attribute_derivatives_case(3, True),
        lambda: attribute_derivatives_case(3, False),
    ],
    "antialias": [lambda: antialias_case(1), lambda: antialias_case(3)],
    "hashgrid": [hashgrid_case],
    "marching_tets": [lambda: marching_case(3), lambda: marching_case(20)],
    "weights_from_alpha": [lambda: dense_samples(37, 29)[:1]],
    "weights_from_density": [lambda: dense_samples(37, 29)[1:3], lambda: dense_samples(3, 1)[1:3]],
    "composite": [lambda: dense_samples(37, 29)[::3]],
    "packed_weights_from_alpha": [lambda: packed_case(0)],
    "packed_weights_from_density": [lambda: packed_case(1, 2)],
    "march_occupied": [lambda: march_case(37), lambda: march_case(5)],
    "packed_sum": [lambda: packed_case(0, 3)],
    "project": [lambda: project_case(1), lambda: project_case(3)],
    "blend": [lambda: blend_case(1, 4), lambda: blend_case(3, 3), lambda: blend_case(1, 9)],
    "sample": [
        lambda: sample_case(False, "clamp"),
        lambda: sample_case(True, "clamp"),
        lambda: sample_case(True, "wrap"),
    ],
}
OPS = {
    "rasterize": raster.rasterize,
    "interpolate": raster.interpolate,
    "screen_derivatives": raster.screen_derivatives,
    "attribute_derivatives": raster.attribute_derivatives,
    "antialias": raster.antialias,
    "hashgrid": hashgrid.hashgrid,
    "marching_tets": isosurface.marching_tets,
    "weights_from_alpha": volume.weights_from_alpha,
    "weights_from_density": volume.weights_from_density,
    "composite": volume.composite,
    "project": splat.project,
    "blend": splat.blend,
    "packed_weights_from_alpha": volume.packed_weights_from_alpha,
    "packed_weights_from_density": volume.packed_weights_from_density,
    "march_occupied": occupancy.march_occupied,
    "packed_sum": volume.packed_sum,
    "sample": texture.sample,
}
ALL = [
    (name, backend, i)
    for name, backends in dispatch.IMPLEMENTATIONS.items()
    for backend in backends
    if dispatch.BACKENDS[backend].device == "cpu"
    for i in range(len(CASES[name]))
]


def leaves(value):
    """The tensors in arguments or a result."""
    if isinstance(value, Tensor):
        return [value]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else []


def with_gradient(value):
    """The same arguments, floating tensors asking for gradients."""
    if isinstance(value, Tensor):
        return value.clone().requires_grad_() if value.is_floating_point() else value
    if isinstance(value, tuple):
        parts = [with_gradient(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def outcome(function, case):
    """Results, and gradients of their sum with random weights to every floating argument that has one."""
    torch.manual_seed(0)
    args = with_gradient(case())
    results = leaves(function(*args))
    smooth = [result for result in results if result.requires_grad]
    if not smooth:  # the op has no gradients at all
        return results, ()
    torch.manual_seed(1)
    total = sum((result * torch.randn_like(result)).sum() for result in smooth)
    gradients = torch.autograd.grad(total, [v for v in leaves(args) if v.requires_grad], allow_unused=True)
    return [result.detach() for result in results], gradients


def threads(count, function):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return function()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "backend", "number"), ALL)
def test_values_and_gradients_are_the_reference_s(name, backend, number):
    case = CASES[name][number]
    found, found_gradients = outcome(dispatch._load(name, backend), case)
    expected, expected_gradients = outcome(OPS[name].reference, case)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert other.abs().max() > 0
            torch.testing.assert_close(one / other.abs().max(), other / other.abs().max(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "backend", "number"), ALL)
def test_results_are_the_same_to_the_bit_whatever_the_threads(name, backend, number):
    function = dispatch._load(name, backend)
    runs = [threads(count, lambda: outcome(function, CASES[name][number])) for count in (1, 2, 3, 3)]
    for values, gradients in runs[1:]:
        for one, other in zip([*values, *gradients], [*runs[0][0], *runs[0][1]], strict=True):
            assert one is other is None or torch.equal(one, other)


@pytest.mark.parametrize(("name", "backend", "number"), ALL)
def test_a_second_derivative_is_right_or_an_error_but_not_missing(name, backend, number):
    args = with_gradient(CASES[name][number]())
    smooth = [result for result in leaves(dispatch._load(name, backend)(*args)) if result.requires_grad]
    inputs = [v for v in leaves(args) if v.requires_grad]
    if not smooth:
        return
    total = sum(result.square().sum() for result in smooth)
    slopes = torch.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
    bend = sum(slope.square().sum() for slope in slopes if slope is not None)
    try:
        bend.backward()
    except RuntimeError as error:
        assert "once_differentiable" in str(error)
        return
    assert any(part.grad is not None and part.grad.abs().max() > 0 for part in inputs)


class Pictures(Dataset):
    """Drawn in a data loader's process."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return raster.rasterize(*rasterize_case(1 + index)).face[0]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12: it is what is tested
def test_a_data_loader_s_process_can_draw_after_its_parent_did():
    expected = threads(2, lambda: [Pictures()[i] for i in range(2)])
    process = {"num_workers": 1, "multiprocessing_context": "fork", "timeout": 60}
    loader = DataLoader(Pictures(), batch_size=None, **process)
    for one, other in zip(loader, expected, strict=True):
        assert torch.equal(one, other)
