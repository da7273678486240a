"""deodr: triangles in C++, silhouettes drawn over as edges a pixel wide, gradients by its own adjoint."""

from __future__ import annotations

import numpy as np
import torch
from deodr.differentiable_renderer import Scene2D
from deodr.triangulated_mesh import TriMesh
from torch import Tensor


class Picture:
    """What does not move with the vertices is made once; sigma 0 leaves out the edges."""

    def __init__(self, vertices: Tensor, faces: Tensor, sigma: float) -> None:
        self.faces = faces.numpy().astype(np.uint32)
        self.mesh = TriMesh(self.faces, vertices.detach().double().numpy())
        self.sigma = sigma

    def both(self, clip: Tensor, colors: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
        """The picture, H W 3, and gradients to the vertices' clip coordinates and to the colours."""
        height, width = slope.shape[:2]
        size = clip.new_tensor([width, height])
        spots = (clip[0, :, :2] / clip[0, :, 3:] + 1) / 2 * size - 0.5  # centres are whole numbers
        scene = self.scene(spots.detach().double().numpy(), clip, colors, height, width)
        picture, _ = scene.render(self.sigma)
        scene.clear_gradients()
        scene.render_backward(slope.double().numpy())
        (to_clip,) = torch.autograd.grad(spots, clip, torch.from_numpy(scene.ij_b).float())
        return torch.from_numpy(picture).float(), to_clip, torch.from_numpy(scene.colors_b).float()

    def scene(self, spots: np.ndarray, clip: Tensor, colors: Tensor, height: int, width: int) -> Scene2D:
        """Coloured triangles without shading or texture."""
        num_vertices, num_faces = len(spots), len(self.faces)
        edges = self.mesh.edge_on_silhouette(spots) if self.sigma else np.zeros((num_faces, 3), bool)
        return Scene2D(
            faces=self.faces,
            faces_uv=self.faces,
            ij=spots,
            depths=clip[0, :, 3].detach().double().numpy(),
            textured=np.zeros(num_faces, bool),
            uv=np.zeros((num_vertices, 2)),
            shade=np.zeros(num_vertices),
            colors=colors.detach().double().numpy(),
            shaded=np.zeros(num_faces, bool),
            edgeflags=edges,
            height=height,
            width=width,
            nb_colors=3,
            texture=np.zeros((0, 0, 3)),
            background_color=np.zeros(3),
            backface_culling=True,
        )
