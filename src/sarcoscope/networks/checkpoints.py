"""Tensors by name out of a file of weights that anybody may have written. Nothing in it is ever run."""

import argparse
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sarcoscope.core.errors import InputError, shown

SAFE: Final = (".safetensors",)
PICKLED: Final = (".pth", ".pt", ".bin", ".ckpt")
_WRAPPERS: Final = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher", "student")
"""Under which names checkpoints keep their tensors, the best first: a running mean is what its training validated."""
UNPICKLING_ERRORS: Final = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, UnpicklingError, ValueError, struct.error),
)
"""What torch's unpickler for weights lets out of a damaged file, which it does not check before it reads it."""
_ADVICE: Final = "save its state_dict alone, best as .safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """What a file of weights holds."""

    tensors: Mapping[str, Tensor]
    """On the CPU, of any dtype."""
    wrapper: str
    """Under which names the file keeps them, e.g. state_dict; empty where they lie open."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read .safetensors, or a pickle of torch with its unpickler for weights only.

    Raises InputError where the file cannot be read, is none of these, holds no tensors, or would run code.
    """
    suffix = path.suffix.lower()
    if suffix not in {*SAFE, *PICKLED}:
        raise InputError(f"weights {shown(path)}: no {' or '.join((*SAFE, *PICKLED))}", _ADVICE)
    if not path.is_file():
        raise InputError(f"weights {shown(path)}: no such file", "give a file, hub or none")
    content = _safe(path) if suffix in SAFE else _pickled(path)
    wrapper = []
    while (name := next((name for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)) is not None:
        content = content[name]
        wrapper.append(name)
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and _is_plain(value)}
    if not tensors:
        raise InputError(f"weights {shown(path)}: no tensors in it", _ADVICE)
    return Checkpoint(tensors=tensors, wrapper=".".join(wrapper))


def _safe(path: Path) -> Mapping[Any, Any]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"weights {shown(path)}: not a safetensors file ({error})", "get it again") from error


def _pickled(path: Path) -> Mapping[Any, Any]:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            # Many checkpoints hold a Namespace of options beside the tensors; it is a bag and does nothing.
            warnings.simplefilter("ignore", UserWarning)  # notes on odd pickles; the report says what came of them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNPICKLING_ERRORS as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            problem = f"weights {shown(path)}: holds {named[1]} beside weights, and is not opened"
            raise InputError(problem, _ADVICE) from error
        raise InputError(f"weights {shown(path)}: not a checkpoint of torch", "get it again") from error
    if not isinstance(content, Mapping):
        raise InputError(f"weights {shown(path)}: holds a {type(content).__name__}, no state_dict", _ADVICE)
    return content


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of real numbers that lie in memory: not sparse, quantised or without data."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_nested
        and not value.is_complex()
    )
