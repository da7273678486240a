"""project and blend by gsplat, and by stand-ins of its conventions."""

import pytest
import torch

from threestudio_like.ops import splat
from threestudio_like.ops.camera import crop, orbit
from threestudio_like.records import Footprints


def fully_fused_projection(means, covars, quats, scales, viewmats, Ks, width, height, eps2d, near_plane):
    """Matrices as they are written in books; garbage where nothing can be seen."""
    assert covars is None
    rotations = splat.rotation_matrices(quats)
    covariances = rotations @ torch.diag_embed(scales**2) @ rotations.mT
    seen_from, shift = viewmats[:, None, :3, :3], viewmats[:, None, :3, 3]
    local = (seen_from @ means[..., None])[..., 0] + shift
    x, y, z = local.unbind(-1)
    seen = z >= near_plane
    z = torch.where(seen, z, 1.0)
    side = torch.tensor([width, height])
    lengths, middles = Ks[:, None, [0, 1], [0, 1]], Ks[:, None, :2, 2]
    slopes = torch.stack([x / z, y / z], dim=-1)
    high = (side - middles) / lengths + 0.3 * side / (2 * lengths)
    held = torch.minimum(torch.maximum(slopes, -middles / lengths - 0.3 * side / (2 * lengths)), high)
    jacobian = torch.zeros(*z.shape, 2, 3)
    jacobian[..., 0, 0], jacobian[..., 1, 1] = (lengths / z[..., None]).unbind(-1)
    jacobian[..., 2] = -held * lengths / z[..., None]
    covariance = jacobian @ seen_from @ covariances @ seen_from.mT @ jacobian.mT + eps2d * torch.eye(2)
    centers = slopes * lengths + middles
    radii = (3.33 * torch.diagonal(covariance, dim1=-2, dim2=-1).sqrt()).ceil()
    seen = seen & ((centers + radii > 0) & (centers - radii < side)).all(-1)
    inverse = torch.linalg.inv(covariance)
    conics = torch.stack([inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 1]], dim=-1)
    found = (torch.where(seen[..., None], part, 7.0) for part in (centers, conics))
    centers, conics = found
    return (radii * seen[..., None]).int(), centers, torch.where(seen, z, 7.0), conics, None


def isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height):
    assert radii.dtype == torch.int32 and radii.shape == means2d.shape
    return None, "keys", radii


def isect_offset_encode(isect_ids, n_images, tile_width, tile_height):
    assert isect_ids == "keys"
    return torch.zeros(n_images, tile_height, tile_width, dtype=torch.int32)


def rasterize_to_pixels(
    means2d, conics, colors, opacities, image_width, image_height, tile_size, isect_offsets, flatten_ids
):
    num_views, count, channels = colors.shape
    assert channels in (1, 2, 3, 4, 5, 8, 9, 16) and opacities.shape == (num_views, count)
    assert isect_offsets.shape == (num_views, -(-image_height // tile_size), -(-image_width // tile_size))
    assert tile_size == 16
    depths = torch.arange(count).expand(num_views, count).float()  # the case below is sorted
    determinants = conics[..., 0] * conics[..., 2] - conics[..., 1] ** 2
    spreads = (conics[..., [2, 0]] / determinants[..., None]).detach().sqrt() * (flatten_ids > 0)
    prints = Footprints(means2d, conics, depths, spreads)
    return splat.blend.reference(prints, opacities[0], colors, image_height, image_width)


STAND_INS = (fully_fused_projection, isect_tiles, isect_offset_encode, rasterize_to_pixels)


def cameras(num_views):
    angles = torch.arange(num_views, dtype=torch.float32)
    lens = {"distance": torch.full_like(angles, 1.5), "fov_y": torch.full_like(angles, 0.9)}
    camera = orbit(azimuth=angles, elevation=0.3 * angles, **lens, height=41, width=53)
    return crop(camera, 3, 5, 37, 43)


def clouds():
    generator = torch.Generator().manual_seed(0)
    means = 3 * torch.rand(150, 3, generator=generator) - 1.5
    scales = 0.2 * torch.rand(150, 3, generator=generator) + 0.03
    return means, scales, torch.randn(150, 4, generator=generator)


def check_project(function, gradients, device):
    camera = cameras(3)
    wide = splat.project.reference(*clouds(), camera, 0.2).spreads
    seen = wide > 0
    moved = camera._replace(c2w=camera.c2w.to(device), fov_y=camera.fov_y.to(device))
    moved = moved._replace(shift=camera.shift.to(device))

    def of_seen(project, camera, *cloud):
        prints = project(*cloud, camera, 0.2)
        kept = seen.to(prints.spreads.device)
        near = torch.where(kept[..., 0], prints.depths, 0.0)
        shown = (torch.where(kept[..., :1], part, 0.0) for part in (prints.centers, prints.conics))
        return *shown, near

    found = gradients(lambda *cloud: of_seen(function, moved, *cloud), *clouds(), device=device)
    expected = gradients(lambda *cloud: of_seen(splat.project.reference, camera, *cloud), *clouds())
    for one, other in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        size = other.abs().max()
        torch.testing.assert_close(one / size, other / size, atol=1e-4, rtol=0)
    spreads = function(*(part.to(device) for part in clouds()), moved, 0.2).spreads.cpu()
    # it rounds what decides this up to whole pixels, so that a few more are seen
    torch.testing.assert_close(spreads[seen], wide[seen], atol=1e-3, rtol=1e-3)
    assert ((spreads > 0) ^ seen).float().mean() < 0.05


def check_blend(function, gradients, device, channels):
    """Sorted, and nowhere as dense as where opacities are held."""
    generator = torch.Generator().manual_seed(1)
    prints = splat.project.reference(*clouds(), cameras(2), 0.2)
    order = prints.depths.mean(0).argsort()
    depths = torch.arange(150.0).expand(2, 150) + 1
    fixed = depths, prints.spreads[:, order]
    opacities = 0.9 * torch.rand(150, generator=generator)
    values = torch.rand(2, 150, channels, generator=generator)
    free = prints.centers[:, order], prints.conics[:, order], opacities, values

    def draw(blend, centers, conics, opacities, values):
        depths, spreads = (part.to(centers.device) for part in fixed)
        return blend(Footprints(centers, conics, depths, spreads), opacities, values, 37, 43)

    found = gradients(lambda *args: draw(function, *args), *free, device=device)
    expected = gradients(lambda *args: draw(splat.blend.reference, *args), *free)
    for one, other in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        size = other.abs().max()
        torch.testing.assert_close(one / size, other / size, atol=1e-3, rtol=0)


def test_stand_ins_project_alike(adapter, gradients):
    module = adapter("gsplat", **{part.__name__: part for part in STAND_INS})
    check_project(module.project, gradients, "cpu")


@pytest.mark.parametrize("channels", [3, 6])
def test_stand_ins_blend_alike(adapter, gradients, channels):
    module = adapter("gsplat", **{part.__name__: part for part in STAND_INS})
    check_blend(module.blend, gradients, "cpu", channels)


def test_too_many_channels_are_refused(adapter, monkeypatch):
    module = adapter("gsplat", **{part.__name__: part for part in STAND_INS})
    monkeypatch.setattr(module, "CHANNELS", (1, 2))
    prints = splat.project.reference(*clouds(), cameras(1), 0.2)
    with pytest.raises(ValueError, match="gsplat: 3 channels; it is compiled for 2 at most"):
        module.blend(prints, torch.rand(150), torch.rand(1, 150, 3), 37, 43)


@pytest.mark.gpu
def test_the_package_agrees(gradients):
    pytest.importorskip("gsplat")
    from threestudio_like.ops.backends import gsplat

    check_project(gsplat.project, gradients, "cuda")
    check_blend(gsplat.blend, gradients, "cuda", 3)
