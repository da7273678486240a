"""Where published weights are: a name of the hub, a folder, or one file. Nothing is downloaded here.

A name is looked for in the hub's cache on this machine. A folder holds parts as diffusers saves them
(`unet/`, `vae/`, ...), or one original checkpoint; a file may also be one network as diffusers saves it. What
is missing is said in one line, with the command that brings it.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
import transformers

from threestudio_like.priors import checkpoint

SUFFIXES = (".safetensors", ".ckpt")
Precision = Literal["float16", "bfloat16", "float32"]
log = logging.getLogger(__name__)


def find(weights: str, network: str = "unet") -> Path:
    """The folder in diffusers' layout that has this network, or the one file, that is meant.

    ValueError: there is neither, or several files.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise ValueError(f"weights: {path} should end in {' or '.join(SUFFIXES)}")
        return path
    folder = home(weights)
    if (folder / network / "config.json").is_file():
        return folder
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if len(files) == 1:
        return files[0]
    names = ", ".join(file.name for file in files)
    several = (
        f"several checkpoints ({names}); name one of them: weights={folder}/{files[0].name}" if files else ""
    )
    raise ValueError(f"weights: {folder} has {several or f'neither {network}/config.json nor a checkpoint'}")


def folder_with(weights: str, network: str) -> Path:
    """The folder that is meant, and has this network (`""`: is itself one); ValueError if none."""
    if Path(weights).expanduser().is_file():
        layout = " in diffusers' layout" if network else " with config.json"
        raise ValueError(f"weights: {weights} is one file; expected a folder{layout}")
    folder = home(weights)
    if not (folder / network / "config.json").is_file():
        raise ValueError(f"weights: {folder} has no {Path(network) / 'config.json'}")
    return folder


def home(weights: str, setting: str = "weights") -> Path:
    """The folder that a name or a path means, whatever is in it; ValueError, of this setting, if none."""
    path = Path(weights).expanduser()
    return path if path.is_dir() else cached(weights, setting)


def reader(path: Path, text: str | None, names: Sequence[str]) -> Path:
    """The folder with these tokenizers and text encoders: `text`, or where it is null that of the weights.

    ValueError: a file has none, or the folder not all.
    """
    listed = ", ".join(names)
    if path.is_file() and text is None:
        raise ValueError(f"text: {path.name} has no tokenizer; set text=FOLDER, or a name, with {listed}")
    folder = path if text is None else home(text, "text")
    absent = [name for name in names if not (folder / name).is_dir()]
    if absent:
        raise ValueError(f"text: {folder} has no {', '.join(absent)}; expected a folder with {listed}")
    return folder


def cached(name: str, setting: str) -> Path:
    """The hub's newest snapshot on this machine; ValueError that says how to get one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError as error:
        raise ValueError(f"{setting}: no file or folder {name!r}, and the hub has no such names") from error
    except LocalEntryNotFoundError as error:
        if name.count("/") != 1 or name.startswith((".", "~", "/")):
            raise ValueError(f"{setting}: no file or folder {name!r}") from error
        get = f"download it with `hf download {name}` or set {setting}=FOLDER"
        raise ValueError(f"{setting}: {name!r} is not on this machine; {get}") from error


def settings(file: Path) -> Any:
    """What a JSON file holds; ValueError: it is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"weights: {file} cannot be read ({error})") from error


def part(kind: Any, folder: Path, name: str, precision: Precision) -> Any:
    """One network of a folder, frozen; only tensors are read from its files, never code.

    ValueError: one line, whatever is wrong in the folder.
    """
    if not (folder / name / "config.json").is_file():
        raise ValueError(f"weights: {folder} has no {Path(name) / 'config.json'}")
    transformers.utils.logging.disable_progress_bar()  # the log has its own line
    diffusers.utils.logging.set_verbosity_error()  # of settings that it does not know, too
    kept = "dtype" if kind.__module__.startswith("transformers.") else "torch_dtype"
    options = {kept: getattr(torch, precision), "local_files_only": True}
    files = [file.name for file in (folder / name).iterdir() if file.suffix in (".safetensors", ".bin")]
    if not files:
        raise ValueError(f"weights: {folder / name} has no .safetensors")
    options["use_safetensors"] = any(file.endswith(".safetensors") for file in files)
    halves = [file for file in files if ".fp16" in file]
    if halves and (precision == "float16" or halves == files):
        options["variant"] = "fp16"  # half the bytes to read
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that the hub's files still have
            if not isinstance(json.loads((folder / name / "config.json").read_text()), dict):
                raise ValueError("config.json holds no names")
            network = kind.from_pretrained(folder / name, **options)
    except MemoryError:
        raise
    except Exception as error:  # a settings' file of any content ends in errors of any kind
        raise ValueError(f"weights: {folder / name} is not whole: {' '.join(str(error).split())}") from error
    return network.requires_grad_(False).eval()


def alone(kind: Any, file: Path, published: Mapping[str, Any], precision: Precision) -> Any:
    """One network of diffusers from its own file, frozen; sizes are in config.json beside it, or `published`.

    ValueError: a tensor is missing, too many or of another shape; it is named, with how many match.
    """
    beside = file.with_name("config.json")
    diffusers.utils.logging.set_verbosity_error()  # of settings that it does not know
    try:
        found = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else dict(published)
        with torch.device("meta"):
            network = kind.from_config(found)
    except Exception as error:  # a settings' file of any content ends in errors of any kind
        raise ValueError(f"weights: {beside} is not whole: {' '.join(str(error).split())}") from error
    wanted, state = network.state_dict(), checkpoint.tensors(file)
    same = {name for name, value in wanted.items() if name in state and state[name].shape == value.shape}
    named = f"{file.name}: {len(same)} of {len(wanted)} tensors are those of"
    if len(same) < len(wanted) or len(state) > len(wanted):
        where = beside if beside.is_file() else "the published sizes (no config.json is beside it)"
        raise ValueError(f"weights: {named} {where}, {odd_one(wanted, state)}")
    dtype = getattr(torch, precision)
    network.load_state_dict({name: state[name].to(dtype) for name in wanted}, assign=True)
    log.info("%s %s", named, beside.name if beside.is_file() else "the published sizes")
    return network.requires_grad_(False).eval()


def odd_one(wanted: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> str:
    """The first tensor by which a file is not what a network takes, in words."""
    for name, value in wanted.items():
        if name not in state:
            return f"and it has no {name!r}"
        if state[name].shape != value.shape:
            return f"and {name!r} is of shape {list(state[name].shape)}, not {list(value.shape)}"
    return f"but it has {next(name for name in state if name not in wanted)!r} as well"


def check_schedule(folder: Path, prediction: str, alpha_bar: torch.Tensor) -> None:
    """That the noise and the prediction configured are those the weights come with, where they say."""
    from diffusers import DDPMScheduler

    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        return
    given = DDPMScheduler.load_config(folder / "scheduler")
    names = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
    told = names[given.get("prediction_type", "epsilon")]
    if told != prediction:
        raise ValueError(f"prediction: {folder} predicts {told}, not {prediction}")
    wanted = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    scheduler: Any = DDPMScheduler(**{name: given[name] for name in wanted if name in given})
    theirs = scheduler.alphas_cumprod
    if len(theirs) != len(alpha_bar) or (theirs - alpha_bar).abs().max() > 1e-4:
        kind = given.get("beta_schedule", "linear")
        raise ValueError(f"schedule: {folder} was trained with another noise ({kind}, {len(theirs)} levels)")
