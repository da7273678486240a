"""A small editing prior after InstructPix2Pix (Brooks et al. 2023): a picture, given one and an instruction.

The source picture is concatenated to x_t and the instruction is read where the text prior reads its prompt
(section 3.2). It may begin as a text prior whose first convolution is widened by channels of zeros: at first
it does exactly what that one does. What the paper has not is a gain for the picture before beside that for
x_t: most pixels are to stay as they are, and a network this small is long in learning to copy.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from threestudio_like.priors.base import Condition
from threestudio_like.priors.pixels import CHANNELS, Pixels, without
from threestudio_like.priors.sentence import Frozen
from threestudio_like.priors.text import Text
from threestudio_like.priors.unet import BLOCK, Denoiser, Gain
from threestudio_like.priors.weights import load, widen
from threestudio_like.ranges import Side, Third
from threestudio_like.records import Camera, View
from threestudio_like.schedule.prediction import Prediction
from threestudio_like.schedule.vp import VP


class InstructPix2Pix(Pixels):
    """p(picture | the picture before, instruction).

    prediction: what the denoiser says: eps, v or x0.
    dropout: u of the paper: instruction alone, picture alone, and both are dropped in u of the examples each.
    begin: weights of a text prior to begin with, by name or file; weights: of a trained one. One, or none.
    """

    def __init__(
        self,
        *,
        schedule: VP,
        size: Side,
        denoiser: Denoiser,
        prediction: Prediction,
        text: Text | Frozen,
        dropout: Third,
        begin: str | None,
        weights: str | None,
    ) -> None:
        super().__init__(schedule=schedule, size=size, denoiser=denoiser)
        self.prediction = prediction
        self.text = text
        self.dropout = dropout
        if denoiser.image_channels != CHANNELS * BLOCK**2:
            given = denoiser.image_channels
            raise ValueError(f"denoiser.image_channels: must be {CHANNELS * BLOCK**2}, not {given}")
        if begin is not None and weights is not None:
            raise ValueError("begin, weights: give weights to begin with or trained ones; the other is null")
        self.gain = Gain(CHANNELS)  # of the picture before
        if begin is not None:
            widen(self, begin, "denoiser.unet.conv_in.weight", new="gain.")
        if weights is not None:
            load(self, weights)

    def condition(self, prompts: list[str], camera: Camera, reference: View | None) -> Condition:
        """Tokens of the instructions, and the picture before; cameras do not matter."""
        if reference is None:
            raise ValueError("instructpix2pix: needs a picture to edit")
        before = F.pixel_unshuffle(self.encode(reference.rgba), BLOCK)
        return Condition(tokens=self.text(prompts), image=before.expand(len(prompts), -1, -1, -1))

    def raw(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], condition: Condition
    ) -> Float[Tensor, "B C h w"]:
        """The network's, and so much of the picture before."""
        assert condition.image is not None
        return self.denoiser(x_t, t, condition) + self.gain(t) * F.pixel_shuffle(condition.image, BLOCK)

    def null(self, condition: Condition) -> Condition:
        """The empty instruction, and zeros for the picture."""
        assert condition.tokens is not None and condition.image is not None
        return Condition(
            tokens=self.nothing(condition), image=condition.image.new_zeros(condition.image.shape)
        )

    def nothing(self, condition: Condition) -> Float[Tensor, "B L D"]:
        """Tokens of the empty instruction."""
        assert condition.tokens is not None
        return self.text([""]).expand_as(condition.tokens)

    def train_condition(self, condition: Condition, u: Float[Tensor, " B"]) -> Condition:
        """One uniform number for each example: the instruction is dropped below 2 dropout, the picture from
        dropout to 3 dropout (section 3.2.1)."""
        assert condition.tokens is not None and condition.image is not None
        no_text, no_picture = u < 2 * self.dropout, (u >= self.dropout) & (u < 3 * self.dropout)
        return Condition(
            tokens=without(condition.tokens, self.nothing(condition), no_text),
            image=without(condition.image, condition.image.new_zeros(()), no_picture),
        )
