"""A prior in closed form: pictures are N(m, s^2) in every element, m one number given by the condition."""

import pytest
import torch
from torch import Tensor, nn

from threestudio_like.ops.camera import orbit
from threestudio_like.priors.base import Condition, Prior
from threestudio_like.records import Camera, View
from threestudio_like.schedule.vp import VP, scaled_linear


class Gaussian(Prior):
    """eps of x_t ~ N(alpha m, alpha^2 s^2 + sigma^2); m is `cond` with a condition and `null` without."""

    def __init__(self, *, cond: float, null: float, std: float, size: int = 4) -> None:
        super().__init__()
        self.schedule = VP(betas=scaled_linear(1000, 0.00085, 0.012))
        self.shape = (4, size, size)
        self.cond = nn.Parameter(torch.tensor(cond))
        self.none, self.std = null, std

    def encode(self, image: Tensor) -> Tensor:
        return image.permute(0, 3, 1, 2)

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        return Condition(vector=self.cond.expand(len(prompts), 1))

    def null(self, condition: Condition) -> Condition:
        return Condition(vector=torch.full_like(condition.vector, self.none))

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        alpha, sigma = self.schedule.coefficients(t, x_t)
        mean = condition.vector[:, 0].view(-1, 1, 1, 1)
        return sigma * (x_t - alpha * mean) / (alpha**2 * self.std**2 + sigma**2)


@pytest.fixture
def gaussian() -> type[Gaussian]:
    return Gaussian


@pytest.fixture
def cameras():
    """Cameras around the object, as many as asked for."""

    def make(count: int) -> Camera:
        ones = torch.ones(count)
        return orbit(
            azimuth=torch.linspace(0, 3, count),
            elevation=0.2 * ones,
            distance=1.6 * ones,
            fov_y=0.8 * ones,
            height=4,
            width=4,
        )

    return make
