"""Foreground matting by U2-Net-p (Qin et al. 2020): a picture without alpha in, its alpha out.

The network sees 320 x 320 pixels; the matte comes back at the picture's own size. Straight colours, [0, 1].
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from threestudio_like.ranges import Count, Share

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BUNDLED = Path(__file__).parent / "bundled"
SIDE = 320  # fixed in the exported network
MEAN = (0.485, 0.456, 0.406)  # of its training pictures
STD = (0.229, 0.224, 0.225)


class Matting:
    """Callable: picture to alpha. The network is loaded at the first call, and only then.

    weights: a file, or the name of one in priors/bundled/.
    confidence: the network's highest raw answer below this means that it saw no object: alpha is all 0.
    """

    def __init__(self, *, weights: str, num_threads: Count, confidence: Share) -> None:
        self.weights = weights
        self.num_threads = num_threads
        self.confidence = confidence

    @cached_property
    def session(self) -> InferenceSession:
        """The network."""
        import onnxruntime

        path = Path(self.weights) if Path(self.weights).is_file() else BUNDLED / self.weights
        if not path.is_file():
            raise ValueError(f"matting weights: no file {self.weights!r}, and none of that name is bundled")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        options.inter_op_num_threads = 1
        # spinning threads would slow whatever else runs on the machine
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, rgb: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 1"]:
        """The alpha of the most salient object."""
        height, width = rgb.shape[:2]
        x = _resized(rgb.permute(2, 0, 1)[None].float(), SIDE, SIDE)
        x = x / x.amax().clamp(min=1e-6)
        x = (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(STD).view(3, 1, 1)
        session = self.session
        answer = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: x.numpy()})[0]
        matte = torch.from_numpy(answer)
        if matte.amax() < self.confidence:
            return torch.zeros(height, width, 1)
        matte = (matte - matte.amin()) / (matte.amax() - matte.amin()).clamp(min=1e-6)
        return _resized(matte, height, width)[0].permute(1, 2, 0).clamp(0, 1)


def _resized(x: Float[Tensor, "B C h w"], height: int, width: int) -> Float[Tensor, "B C H W"]:
    return F.interpolate(x, (height, width), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
