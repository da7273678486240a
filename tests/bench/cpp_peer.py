"""The hash grid in C++ with OpenMP, compiled where there is a compiler: what kernels could take at best.

A task of the forward pass, and of the gradient to points, is a point; of the gradient to the table, a level,
so that nothing is added by two threads at once.
"""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SOURCE = r"""
#include <cmath>
#include <cstdint>
struct Cell { int64_t row[8]; float fraction[3]; };

static inline Cell find(const float* p, int resolution, int64_t size) {
    Cell cell;
    int at[3];
    for (int axis = 0; axis < 3; ++axis) {
        float scaled = p[axis] * resolution;
        at[axis] = std::fmin(std::floor(scaled), resolution - 1);
        cell.fraction[axis] = scaled - at[axis];
    }
    int64_t side = resolution + 1;
    bool dense = side * side * side <= size;
    for (int corner = 0; corner < 8; ++corner) {
        uint32_t x = at[0] + (corner & 1), y = at[1] + (corner >> 1 & 1), z = at[2] + (corner >> 2);
        cell.row[corner] = dense ? x + side * (y + side * z)
                                 : (x ^ y * 2654435761u ^ z * 805459861u) & uint32_t(size - 1);
    }
    return cell;
}

static inline float weight(const Cell& c, int corner, int skip) {
    float product = 1;
    for (int axis = 0; axis < 3; ++axis)
        if (axis != skip) product *= corner >> axis & 1 ? c.fraction[axis] : 1 - c.fraction[axis];
    return product;
}

extern "C" void forward(const float* points, const float* table, const int* resolutions, float* features,
                        int64_t n, int levels, int64_t size) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; ++i)
        for (int level = 0; level < levels; ++level) {
            Cell cell = find(points + 3 * i, resolutions[level], size);
            float one = 0, two = 0;
            for (int corner = 0; corner < 8; ++corner) {
                const float* value = table + 2 * (level * size + cell.row[corner]);
                float w = weight(cell, corner, -1);
                one += w * value[0];
                two += w * value[1];
            }
            features[2 * (i * levels + level)] = one;
            features[2 * (i * levels + level) + 1] = two;
        }
}

extern "C" void to_table(const float* points, const int* resolutions, const float* slope, float* gradient,
                         int64_t n, int levels, int64_t size) {
#pragma omp parallel for schedule(dynamic, 1)
    for (int level = 0; level < levels; ++level)
        for (int64_t i = 0; i < n; ++i) {
            Cell cell = find(points + 3 * i, resolutions[level], size);
            const float* g = slope + 2 * (i * levels + level);
            for (int corner = 0; corner < 8; ++corner) {
                float* value = gradient + 2 * (level * size + cell.row[corner]);
                float w = weight(cell, corner, -1);
                value[0] += w * g[0];
                value[1] += w * g[1];
            }
        }
}

extern "C" void to_points(const float* points, const float* table, const int* resolutions, const float* slope,
                          float* gradient, int64_t n, int levels, int64_t size) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; ++i) {
        float total[3] = {0, 0, 0};
        for (int level = 0; level < levels; ++level) {
            Cell cell = find(points + 3 * i, resolutions[level], size);
            const float* g = slope + 2 * (i * levels + level);
            for (int corner = 0; corner < 8; ++corner) {
                const float* value = table + 2 * (level * size + cell.row[corner]);
                float along = (value[0] * g[0] + value[1] * g[1]) * resolutions[level];
                for (int axis = 0; axis < 3; ++axis)
                    total[axis] += (corner >> axis & 1 ? along : -along) * weight(cell, corner, axis);
            }
        }
        for (int axis = 0; axis < 3; ++axis) gradient[3 * i + axis] = total[axis];
    }
}
"""


def compiled() -> ctypes.CDLL:
    """The library; ImportError, which the bench skips a peer by, without a compiler that has OpenMP."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise ImportError("no C++ compiler")
    folder = Path(tempfile.mkdtemp())
    (folder / "hashgrid.cpp").write_text(SOURCE)
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC"]
    words = [compiler, *flags, str(folder / "hashgrid.cpp"), "-o", str(folder / "hashgrid.so")]
    if subprocess.run(words, capture_output=True).returncode:
        raise ImportError(f"{compiler} does not compile with OpenMP here")
    return ctypes.CDLL(str(folder / "hashgrid.so"))


LIBRARY = compiled()


class HashGrid:
    """Features, and gradients to the table and, if asked for, to the points; memory is taken at each call."""

    def __init__(self, points: Tensor, table: Tensor, resolutions: tuple[int, ...], *, to_points: bool):
        self.points, self.table, self.to_points = points.detach(), table.detach(), to_points
        self.resolutions = torch.tensor(resolutions, dtype=torch.int32)
        self.sizes = (
            ctypes.c_int64(len(points)),
            ctypes.c_int(len(resolutions)),
            ctypes.c_int64(table.shape[1]),
        )

    def both(self, slope: Tensor) -> tuple[Tensor, ...]:
        """One pass each way."""
        points, table, resolutions = map(address, (self.points, self.table, self.resolutions))
        features = torch.from_numpy(np.empty(slope.shape, np.float32))
        LIBRARY.forward(points, table, resolutions, address(features), *self.sizes)
        found = [features, torch.zeros_like(self.table)]
        LIBRARY.to_table(points, resolutions, address(slope), address(found[1]), *self.sizes)
        if self.to_points:
            found.append(torch.empty_like(self.points))
            LIBRARY.to_points(points, table, resolutions, address(slope), address(found[2]), *self.sizes)
        return tuple(found)


def address(tensor: Tensor) -> ctypes.c_void_p:
    """Where its memory begins."""
    return ctypes.c_void_p(tensor.data_ptr())
