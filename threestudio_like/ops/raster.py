"""Triangles to pixels and back: rasterize, interpolate, antialias (Laine et al. 2020, sections 3.1-3.4).

Clip space is OpenGL's, row 0 of a picture is at clip y = -1, and pixels are sampled at their centres. All is
done in homogeneous coordinates (Olano and Greer 1997), so that a triangle may reach behind the camera: near
and far planes clip it pixel by pixel. With
p_i the (x, y, w) of its vertices and P = (X, Y, 1) a pixel, e_i = det(p_j, p_k, P) are the edge functions,
e_i / (e_0 + e_1 + e_2) the perspective-correct weights, and sum e_i z_i / det(p_0, p_1, p_2) is z / w.
Edge functions cancel, so they are computed in float64 whatever the positions are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from threestudio_like.ops.dispatch import op
from threestudio_like.ops.mesh import neighbours

CHUNK = 64  # faces tested at once by the reference
MAX_FACES = 256  # followed from one pixel's centre to the next


class Fragments(NamedTuple):
    """What each pixel of B pictures shows."""

    barycentric: Float[Tensor, "B H W 2"]  # weights of the face's vertices 0 and 1; differentiable
    depth: Float[Tensor, "B H W 1"]  # z / w in clip space; 0 where nothing is
    face: Int[Tensor, "B H W"]  # -1 where nothing is


def _centres(count: int, device: torch.device) -> Float[Tensor, " count"]:
    """Clip coordinates of the middles of `count` pixels."""
    return (2.0 * torch.arange(count, dtype=torch.float64, device=device) + 1.0) / count - 1.0


def _line(p: Float[Tensor, "*n 4"], q: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3"]:
    """Coefficients (a, b, c) of the line a X + b Y + c = 0 from p to q; exactly opposite from q to p."""
    (px, py, _, pw), (qx, qy, _, qw) = p.unbind(-1), q.unbind(-1)
    return torch.stack([py * qw - qy * pw, pw * qx - qw * px, px * qy - qx * py], dim=-1)


def _edge_functions(corners: Float[Tensor, "*n 3 4"]) -> Float[Tensor, "*n 3 3"]:
    """Coefficients of e_0, e_1 and e_2."""
    return _line(corners.roll(-1, -2), corners.roll(-2, -2))


def _covered(
    corners: Float[Tensor, "B N 3 4"], height: int, width: int
) -> tuple[Bool[Tensor, "B N H W"], Float[Tensor, "B N H W"]]:
    """Which pixels each triangle covers between near and far plane, by the top-left rule, and z / w there."""
    abc = _edge_functions(corners)
    det = (abc[:, :, 0] * corners[:, :, 0, [0, 1, 3]]).sum(-1)
    abc = abc * det.sign()[:, :, None, None]
    a, b, c = abc[..., None, None].unbind(3)
    x, y = _centres(width, abc.device), _centres(height, abc.device)[:, None]
    e = a * x + (b * y + c)  # B N 3 H W
    top_left = (a > 0) | ((a == 0) & (b > 0))
    inside = ((e > 0) | ((e == 0) & top_left)).all(2) & (det != 0)[:, :, None, None]
    depth = (e * corners[..., 2, None, None]).sum(2) / det.abs()[:, :, None, None]
    return inside & (depth.abs() <= 1), depth


def _visible(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> tuple[Int[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """The nearest face of each pixel, the first of them where several are as near; and its z / w."""
    nearest = positions.new_full((len(positions), height, width), torch.inf)
    face = torch.full_like(nearest, -1, dtype=torch.int64)
    for start in range(0, len(faces), CHUNK):
        inside, depth = _covered(positions[:, faces[start : start + CHUNK]].double(), height, width)
        depth, index = torch.where(inside, depth, torch.inf).to(nearest.dtype).min(dim=1)
        closer = depth < nearest
        nearest, face = torch.where(closer, depth, nearest), torch.where(closer, index + start, face)
    return face, torch.where(face < 0, 0.0, nearest)


def _shown_edges(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], face: Int[Tensor, "B H W"]
) -> tuple[tuple[Tensor, ...], Float[Tensor, "N 3 3"], Float[Tensor, "N 3"]]:
    """Views, rows and columns of the pixels that show a face; its edge functions, and their values there."""
    height, width = face.shape[1:]
    pixels = b, r, c = torch.nonzero(face >= 0, as_tuple=True)
    abc = _edge_functions(positions[b[:, None], faces[face[pixels]]].double())
    x, y = _centres(width, abc.device)[c], _centres(height, abc.device)[r]
    return pixels, abc, abc[:, :, 0] * x[:, None] + (abc[:, :, 1] * y[:, None] + abc[:, :, 2])


@op
def rasterize(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> Fragments:
    """The nearest face at each pixel's centre; gradients from the barycentric weights to the positions."""
    with torch.no_grad():
        face, depth = _visible(positions, faces, height, width)
    pixels, _, e = _shown_edges(positions, faces, face)
    weights = (e[:, :2] / e.sum(-1, keepdim=True)).to(positions.dtype)
    barycentric = positions.new_zeros(*face.shape, 2).index_put(pixels, weights)
    return Fragments(barycentric, depth[..., None], face)


@op
def screen_derivatives(
    positions: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], fragments: Fragments
) -> Float[Tensor, "B H W 4"]:
    """(du/dX, du/dY, dv/dX, dv/dY) of the weights u and v, X in columns and Y in rows of pixels.

    0 where nothing is; gradients to the positions.
    """
    height, width = fragments.face.shape[1:]
    pixels, abc, e = _shown_edges(positions, faces, fragments.face)
    total = e.sum(-1)[:, None, None]
    weights = e[:, :2, None] / total
    slopes = (abc[:, :2, :2] - weights * abc[..., :2].sum(1, keepdim=True)) / total
    slopes = slopes * torch.tensor([2.0 / width, 2.0 / height], dtype=slopes.dtype, device=slopes.device)
    zeros = positions.new_zeros(*fragments.face.shape, 4)
    return zeros.index_put(pixels, slopes.flatten(1).to(positions.dtype))


@op
def attribute_derivatives(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"],
    derivatives: Float[Tensor, "B H W 4"],
    fragments: Fragments,
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B H W C 2"]:
    """How each interpolated attribute changes from pixel to pixel, along X and along Y.

    `derivatives` are those of `screen_derivatives`; gradients to them and to the attributes.
    """
    pixels = torch.nonzero(fragments.face >= 0, as_tuple=True)
    values = _corner_values(attributes, faces, fragments.face, pixels)
    slopes = derivatives[pixels].unflatten(-1, (2, 2))
    along = torch.einsum("nic,nix->ncx", values[:, :2] - values[:, 2:], slopes)
    return attributes.new_zeros(*fragments.face.shape, attributes.shape[-1], 2).index_put(pixels, along)


@op
def interpolate(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"], fragments: Fragments, faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "B H W C"]:
    """Attributes of the vertices at each pixel, 0 where nothing is; gradients to them and the weights."""
    pixels = torch.nonzero(fragments.face >= 0, as_tuple=True)
    values = _corner_values(attributes, faces, fragments.face, pixels)
    u, v = fragments.barycentric[pixels].unsqueeze(-1).unbind(1)
    mixed = u * values[:, 0] + v * values[:, 1] + (1 - u - v) * values[:, 2]
    return attributes.new_zeros(*fragments.face.shape, attributes.shape[-1]).index_put(pixels, mixed)


def _corner_values(
    attributes: Float[Tensor, "V C"] | Float[Tensor, "B V C"],
    faces: Int[Tensor, "F 3"],
    face: Int[Tensor, "B H W"],
    pixels: tuple[Tensor, ...],
) -> Float[Tensor, "N 3 C"]:
    """Attributes at the corners of the faces that `pixels` (views, rows, columns) show."""
    corners = faces[face[pixels]]
    return attributes[corners] if attributes.ndim == 2 else attributes[pixels[0][:, None], corners]


class _Borders(NamedTuple):
    """Neighbouring pixels that show different faces; the nearer surface may end between their centres."""

    view: Int[Tensor, " K"]
    near: Int[Tensor, "K 2"]  # row and column of the pixel whose face is nearer
    far: Int[Tensor, "K 2"]
    face: Int[Tensor, " K"]  # of the near pixel's surface
    entry: Int[Tensor, " K"]  # the corner of that face across from where the surface was left for it, or -1
    end: Int[Tensor, " K"]  # face of the far pixel


def _borders(fragments: Fragments, axis: int) -> _Borders:
    """Along rows (axis 0: the neighbour is to the right) or columns (axis 1: it is below)."""
    face = fragments.face
    depth = torch.where(face < 0, torch.inf, fragments.depth[..., 0])
    along = 2 - axis
    one, one_depth = (v.narrow(along, 0, v.shape[along] - 1) for v in (face, depth))
    two, two_depth = (v.narrow(along, 1, v.shape[along] - 1) for v in (face, depth))
    view, row, column = torch.nonzero(one != two, as_tuple=True)
    first = torch.stack([row, column], dim=-1)
    second = first + torch.tensor([axis, 1 - axis], device=face.device)
    swap = (two_depth < one_depth)[view, row, column][:, None]
    near, far = torch.where(swap, second, first), torch.where(swap, first, second)
    shown = [face[view, pixel[:, 0], pixel[:, 1]] for pixel in (near, far)]
    return _Borders(view, near, far, shown[0], torch.full_like(view, -1), shown[1])


def _distances(
    ends: Float[Tensor, "*n 2 4"], near: Int[Tensor, "*n 2"], far: Int[Tensor, "*n 2"], size: tuple[int, int]
) -> Float[Tensor, "*n"]:
    """How far from the near centre towards the far one the line through both meets that through the ends.

    In pixels; infinite if it does not, or not between the ends, or not before the camera.
    """
    axis = (far - near)[..., 0].abs()  # 0: along x
    height, width = size
    rows, columns = _centres(height, near.device)[near[..., 0]], _centres(width, near.device)[near[..., 1]]
    w = ends[..., 3]
    x, y = ends[..., 0] - columns[..., None] * w, ends[..., 1] - rows[..., None] * w
    along, beside = torch.where(axis[..., None] == 0, x, y), torch.where(axis[..., None] == 0, y, x)
    (a, b), (p, q), (v, w) = along.unbind(-1), beside.unbind(-1), w.unbind(-1)
    scale = p * w - q * v  # w where they meet, times p - q
    crossed = ((p < 0) != (q < 0)) & (scale * (p - q) > 0)
    pixels = 0.5 * torch.where(axis == 0, width, height) * (far - near).sum(-1)
    offset = (p * b - q * a) / torch.where(crossed, scale, 1.0)
    return torch.where(crossed, offset * pixels, torch.inf)


def _outlines(
    positions: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
    borders: _Borders,
    axis: int,
    size: tuple[int, int],
) -> tuple[Int[Tensor, "L 3"], Int[Tensor, "L 3"], Int[Tensor, "L 2"]]:
    """Borders at which a silhouette edge ends the nearer surface: near and far pixels, the edge's vertices.

    An edge is a silhouette if the face beyond it is on the same side of it as its own face, or there is none.
    Each is left to the axis that it crosses more squarely: one alone adds up to an edge's whole shift.
    """
    mates = neighbours(faces)
    found = []
    for _ in range(MAX_FACES):
        view, near, far, face, entry, end = borders
        sides = torch.stack([faces[face].roll(-1, 1), faces[face].roll(-2, 1)], dim=-1)
        here, there = (v[:, None].expand(-1, 3, 2) for v in (near, far))
        distances = _distances(positions[view[:, None, None], sides].double(), here, there, size)
        others = torch.arange(3, device=face.device) != entry[:, None]
        distance, side = distances.where((distances <= 1) & others, -1.0).max(dim=1)
        k, mate = torch.arange(len(face), device=face.device), mates[face, side]
        own = faces[face, side]
        beyond = torch.where(mate < 0, own, faces.reshape(-1)[mate])
        p, q, *across = (positions[view, v].double() for v in (*sides[k, side].unbind(1), own, beyond))
        abc = _line(p, q)
        volumes = [(abc * v[:, [0, 1, 3]]).sum(-1) for v in across]
        outline = volumes[0] * volumes[1] >= 0
        upright = abc[:, 0].abs() * size[0] >= abc[:, 1].abs() * size[1]
        kept = (distance >= 0) & outline & (upright == (axis == 0))
        found.append((view[kept], near[kept], far[kept], sides[k, side][kept]))
        on = (distance >= 0) & ~outline & (mate // 3 != end)
        if not on.any():
            break
        borders = _Borders(*(v[on] for v in (view, near, far, mate // 3, mate % 3, end)))
    view, near, far, ends = (torch.cat(parts) for parts in zip(*found, strict=True))
    return torch.cat([view[:, None], near], dim=1), torch.cat([view[:, None], far], dim=1), ends


@op
def antialias(
    image: Float[Tensor, "B H W C"],
    fragments: Fragments,
    positions: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B H W C"]:
    """Blend neighbouring pixels by where a silhouette edge passes between them.

    The nearer face's edge at distance d from its pixel's centre leaves 1/2 - d of that pixel to the other, or
    if d > 1/2 takes d - 1/2 of the other pixel. Gradients to the image and, through d, to the positions.
    Unlike in the paper, the surface is followed over faces too thin to hold a pixel's centre: a fine mesh has
    many where it turns away.
    """
    size = (image.shape[1], image.shape[2])
    out = image
    for axis in (0, 1):
        with torch.no_grad():
            near, far, ends = _outlines(positions, faces, _borders(fragments, axis), axis, size)
        distance = _distances(positions[near[:, :1], ends].double(), near[:, 1:], far[:, 1:], size)
        inside = (distance < 0.5)[:, None]
        to, source = (torch.where(inside, a, b).unbind(1) for a, b in ((near, far), (far, near)))
        share = torch.where(inside[:, 0], 0.5 - distance, distance - 0.5).to(image.dtype)
        out = out.index_put(to, share[:, None] * (image[source] - image[to]), accumulate=True)
    return out
