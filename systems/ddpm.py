"""DDPM (Ho et al. 2020): trains a denoiser of pictures, of whatever its prior is told: nothing, or a text.

x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps; L_simple = E |eps - eps_theta(x_t, t)|^2 (eq. 14), or
the same in v or x_0 (schedule/prediction.py). Samples are the chain run backwards (schedule/samplers.py).
With a text its dropout is what classifier-free guidance needs (Ho and Salimans 2022).
"""

from __future__ import annotations

from systems.denoise import Denoise


class DDPM(Denoise):
    """Pictures out; in: nothing, or captions."""
