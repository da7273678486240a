"""Compile every kernel, forward and backward, for a GPU that need not be there; prints their names.

Nothing runs, so that results are whatever memory holds: enough to get from one kernel to the next.
"""

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from threestudio_like.ops.backends.triton import kernels


class Absent:
    """What Triton asks of a GPU while it compiles."""

    def get_current_target(self):
        return GPUTarget("cuda", 80, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


def compile_only(function, grid, first, *args, fuse=True, **constants):
    compiled = function.warmup(first, *args, grid=grid, enable_fp_fusion=fuse, **constants)
    assert compiled.asm["cubin"]
    print(f"{function.fn.__module__.rpartition('.')[2]}.{function.fn.__name__}")


driver.set_active(Absent())
kernels.launch = compile_only

from threestudio_like.ops import camera, raster  # noqa: E402
from threestudio_like.ops.backends.triton import (  # noqa: E402
    antialias,
    hashgrid,
    interpolate,
    occupancy,
    rasterize,
    splat_blend,
    splat_project,
    volume,
)
from threestudio_like.records import Footprints  # noqa: E402


def some(*shape):
    return torch.rand(*shape, requires_grad=True)


def backward(*results):
    torch.autograd.backward([result.sum() for result in results])


for kind in (torch.float32, torch.bfloat16):
    points, table = some(40, 3), some(2, 64, 2)
    out = hashgrid.hashgrid(points, table.to(kind), (4, 9))
    backward(*torch.autograd.grad(out.sum(), (points, table), create_graph=True))

ray = torch.zeros(40, dtype=torch.int64)
backward(volume.packed_weights_from_alpha(some(40), ray, 3))
backward(volume.packed_weights_from_density(some(40), some(40), ray, 3))
backward(volume.packed_sum(some(40), some(40, 3), ray, 3))
near = torch.rand(40)
occupied = torch.ones(4, 4, 4, dtype=torch.bool)
occupancy.march_occupied(torch.rand(40, 3), torch.rand(40, 3), near, near + 1, occupied, 0.8, 0.1, near)

positions, faces = some(2, 9, 4), torch.randint(9, (5, 3))
backward(rasterize.rasterize(positions, faces, 8, 9).barycentric)
fragments = raster.Fragments(some(2, 8, 9, 2), torch.rand(2, 8, 9, 1), torch.randint(5, (2, 8, 9)))
backward(interpolate.interpolate(some(9, 3), fragments, faces))
backward(antialias.antialias(some(2, 8, 9, 3), fragments, positions, faces))

angles = torch.rand(2)
lens = {"distance": angles + 1, "fov_y": angles, "height": 8, "width": 9}
views = camera.orbit(azimuth=angles, elevation=angles, **lens)
backward(*splat_project.project(some(30, 3), some(30, 3), some(30, 4), views, 0.1)[:3])
prints = Footprints(some(2, 30, 2), some(2, 30, 3), torch.rand(2, 30), torch.rand(2, 30, 2))
backward(*splat_blend.blend(prints, some(30), some(2, 30, 3), 8, 9))
