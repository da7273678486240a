"""T5's encoder, of 4.8 billion weights (Raffel et al. 2020), and three ways to hold it while it reads.

`whole`: in bfloat16, on the CPU; `offload`: on the CUDA device, what does not fit on the CPU; `8bit`: on the
CUDA device, with bitsandbytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import T5EncoderModel

from threestudio_like.priors.published import part

Held = Literal["whole", "offload", "8bit"]


def held(how: Held, folder: Path, name: str) -> Any:
    """The encoder in one of the folder's parts."""
    if how == "whole":
        return part(T5EncoderModel, folder, name, "bfloat16")
    if not torch.cuda.is_available():
        raise ValueError("text_encoder: `offload` and `8bit` need a CUDA device; `whole` does not")
    options = in_8bit() if how == "8bit" else {"dtype": torch.bfloat16}
    return T5EncoderModel.from_pretrained(folder / name, device_map="auto", local_files_only=True, **options)


def in_8bit() -> dict[str, Any]:
    """Weights of 8 bits."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise ValueError("text_encoder: `8bit` needs bitsandbytes: pip install bitsandbytes")
    return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}


def computes_in(how: Held) -> str:
    """What its embeddings are told apart by."""
    return "int8" if how == "8bit" else "bfloat16"
