"""Each estimator tells its own, whatever else it knows."""

import torch

from threestudio_like.priors.depth_and_normal import DepthAndNormal


def test_depth_by_one_and_normals_by_the_other(disc):
    def estimator(depth: float, normal: float):
        def tell(view):
            both = {"depth": depth * view.alpha, "normal": normal * torch.ones_like(view.rgb)}
            return view._replace(**both)

        return tell

    view = disc(8)
    seen = DepthAndNormal(depth=estimator(1.0, 2.0), normal=estimator(3.0, 4.0))(view)
    assert torch.equal(seen.depth, view.alpha) and (seen.normal == 4).all() and seen.rgb is view.rgb
