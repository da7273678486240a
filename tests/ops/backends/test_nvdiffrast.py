"""rasterize, interpolate and antialias by nvdiffrast, and by a stand-in of its layout."""

import pytest
import torch

from threestudio_like.ops import raster


class RasterizeCudaContext:
    def __init__(self, device):
        assert device.type == "cpu"


def fragments_of(rast):
    """From (u, v, z / w, face + 1)."""
    return raster.Fragments(rast[..., :2], rast[..., 2:3].detach(), rast[..., 3].detach().long() - 1)


def rasterize(context, pos, tri, resolution, grad_db=True):
    assert tri.dtype == torch.int32 and pos.is_contiguous() and not grad_db
    found = raster.rasterize.reference(pos, tri.long(), *resolution)
    rast = torch.cat([found.barycentric, found.depth, found.face[..., None] + 1.0], dim=-1)
    return rast, torch.zeros_like(rast)


def interpolate(attr, rast, tri):
    assert tri.dtype == torch.int32 and attr.ndim == 3 and len(attr) in (1, len(rast))
    attributes = attr.expand(len(rast), *attr.shape[1:])
    return raster.interpolate.reference(attributes, fragments_of(rast), tri.long()), None


def antialias(color, rast, pos, tri):
    assert tri.dtype == torch.int32
    return raster.antialias.reference(color, fragments_of(rast), pos, tri.long())


STAND_INS = (RasterizeCudaContext, rasterize, interpolate, antialias)


def case():
    """Two views of an octahedron that holds many pixels in each face, and colours of its vertices."""
    vertices = 0.7 * torch.cat([torch.eye(3), -torch.eye(3)])
    faces = torch.tensor([[i, j, k] for i in (0, 3) for j in (1, 4) for k in (2, 5)])
    turns = torch.linalg.qr(torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))).Q
    xyz = vertices @ turns + torch.tensor([0.0, 0.0, 2.0])
    clip_z = xyz[..., 2:] * 10.2 / 9.8 - 2.0 / 9.8
    positions = torch.cat([2 * xyz[..., :2], clip_z, xyz[..., 2:]], dim=-1)
    return positions, torch.rand(6, 3, generator=torch.Generator().manual_seed(1)), faces


def picture(ops, positions, colours, faces, height, width):
    fragments = ops.rasterize(positions, faces, height, width)
    image = ops.interpolate(colours, fragments, faces)
    return ops.antialias(image, fragments, positions, faces), fragments.barycentric


class References:
    rasterize, interpolate, antialias = (
        staticmethod(op.reference) for op in (raster.rasterize, raster.interpolate, raster.antialias)
    )


def both(ops, gradients, device, size):
    positions, colours, faces = case()
    args = (positions, colours)
    found = gradients(lambda *a: picture(ops, *a, faces.to(device), *size), *args, device=device)
    return found, gradients(lambda *a: picture(References, *a, faces, *size), *args)


def test_stand_ins_agree(adapter, gradients):
    ops = adapter("nvdiffrast", "nvdiffrast.torch", **{part.__name__: part for part in STAND_INS})
    found, expected = both(ops, gradients, "cpu", (17, 23))
    for one, other in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        torch.testing.assert_close(one, other)


def test_too_many_faces_are_refused(adapter, monkeypatch):
    ops = adapter("nvdiffrast", "nvdiffrast.torch", **{part.__name__: part for part in STAND_INS})
    monkeypatch.setattr(ops, "MAX_FACES", 8)
    positions, _, faces = case()
    with pytest.raises(ValueError, match="nvdiffrast: 8 faces; this adapter takes fewer than 8"):
        ops.rasterize(positions, faces, 8, 8)


@pytest.mark.gpu
def test_the_package_agrees(gradients):
    """Save for the few pixels whose centres are nearly on an edge."""
    pytest.importorskip("nvdiffrast")
    from threestudio_like.ops.backends import nvdiffrast

    found, expected = both(nvdiffrast, gradients, "cuda", (128, 160))
    for one, other in zip(found[0], expected[0], strict=True):
        assert ((one - other).abs().amax(-1) > 1e-3).float().mean() < 0.01
    for one, other in zip(found[1], expected[1], strict=True):
        assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.98
