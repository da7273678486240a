"""The hash grid as a Warp kernel; its gradient is Warp's own adjoint. On a CPU Warp uses one thread."""

import warp as wp
from torch import Tensor

wp.config.quiet = True
wp.init()
SECOND_PRIME, THIRD_PRIME = wp.constant(wp.uint32(2654435761)), wp.constant(wp.uint32(805459861))


@wp.kernel
def encode(
    points: wp.array(dtype=wp.vec3),
    table: wp.array2d(dtype=wp.vec2),
    resolutions: wp.array(dtype=wp.int32),
    features: wp.array2d(dtype=wp.vec2),
):
    n, level = wp.tid()
    resolution = resolutions[level]
    scaled = points[n] * float(resolution)
    x = wp.min(int(wp.floor(scaled[0])), resolution - 1)
    y = wp.min(int(wp.floor(scaled[1])), resolution - 1)
    z = wp.min(int(wp.floor(scaled[2])), resolution - 1)
    fx = scaled[0] - float(x)
    fy = scaled[1] - float(y)
    fz = scaled[2] - float(z)
    side = resolution + 1
    size = table.shape[1]
    dense = wp.int64(side) * wp.int64(side) * wp.int64(side) <= wp.int64(size)
    total = wp.vec2(0.0, 0.0)
    for corner in range(8):
        i = corner & 1
        j = (corner >> 1) & 1
        k = corner >> 2
        row = x + i + side * (y + j + side * (z + k))
        if not dense:
            hashed = wp.uint32(x + i) ^ (wp.uint32(y + j) * SECOND_PRIME)
            hashed = hashed ^ (wp.uint32(z + k) * THIRD_PRIME)
            row = int(hashed & wp.uint32(size - 1))
        wx = wp.where(i == 1, fx, 1.0 - fx)
        wy = wp.where(j == 1, fy, 1.0 - fy)
        wz = wp.where(k == 1, fz, 1.0 - fz)
        total += wx * wy * wz * table[level, row]
    features[n, level] = total


class HashGrid:
    """Arrays that share the tensors' memory; gradients are made once and set to zero at each call."""

    def __init__(self, points: Tensor, table: Tensor, resolutions: tuple[int, ...], *, to_points: bool):
        self.to_points = to_points
        self.points = wp.from_torch(points.detach(), dtype=wp.vec3, requires_grad=to_points)
        self.table = wp.from_torch(table.detach(), dtype=wp.vec2, requires_grad=True)
        self.resolutions = wp.array(resolutions, dtype=wp.int32, device="cpu")
        shape = (len(points), len(resolutions))
        self.features = wp.zeros(shape, dtype=wp.vec2, device="cpu", requires_grad=True)

    def both(self, slope: Tensor) -> tuple[Tensor, ...]:
        """Features, and gradients to the table and, if asked for, to the points."""
        with wp.Tape() as tape:
            inputs = [self.points, self.table, self.resolutions, self.features]
            wp.launch(encode, self.features.shape, inputs, device="cpu")
        given = wp.from_torch(slope.view(*self.features.shape, 2), dtype=wp.vec2)
        for array in (self.table, self.features, *([self.points] if self.to_points else [])):
            array.grad.zero_()
        tape.backward(grads={self.features: given})
        wanted = [self.table, *([self.points] if self.to_points else [])]
        return wp.to_torch(self.features).flatten(1), *(wp.to_torch(array.grad) for array in wanted)
