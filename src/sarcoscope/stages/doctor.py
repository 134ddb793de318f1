"""What this machine has, whether it works, and what to type where it does not."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np

from sarcoscope.core.errors import SarcoscopeError
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.core.provenance import library_versions, machine
from sarcoscope.formats.bundle import find_bundle, shipped_bundles
from sarcoscope.inference.onnx import OnnxNetwork, load_members, providers
from sarcoscope.slides.capabilities import codecs, cpu_features, openslide_version
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tiff_writer import write_pyramid

_TRAINING_ONLY = {"torch"}
_SECONDS = 2.0
"""Length of each of the two self-tests."""
_LEAST_DISK_GB = 5.0
_LEAST_OPENSLIDE = (4, 0, 1)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""
    """What to type or do; empty where all is well."""


def examine(folder: Path, seconds: float = _SECONDS) -> list[Check]:
    """Look at everything; `folder` is where results would go. Never raises for what it finds."""
    return [
        _python(),
        *_libraries(),
        _openslide(),
        _codecs(),
        Check("processor", "ok", f"{os.cpu_count()} cores, {', '.join(cpu_features()) or 'no vector instructions'}"),
        _gpu(),
        _disk(folder),
        _attempt("reading", partial(_reading, seconds)),
        *(_attempt(f"bundle {name}", partial(_inference, name, seconds)) for name in shipped_bundles()),
    ]


def _python() -> Check:
    found = f"{machine()['python']} on {machine()['system']} {machine()['architecture']}"
    if (3, 11) <= sys.version_info < (3, 14):
        return Check("Python", "ok", found)
    return Check("Python", "warn", found, "use Python 3.11, 3.12 or 3.13: others are not tested")


def _libraries() -> list[Check]:
    checks = []
    for name, version in library_versions().items():
        if version:
            checks.append(Check(name, "ok", version))
        elif name in _TRAINING_ONLY:
            checks.append(
                Check(name, "ok", "not installed (only training needs it; in a checkout: pip install '.[train]')")
            )
        else:
            checks.append(Check(name, "fail", "not installed", f"pip install {name}"))
    return checks


def _openslide() -> Check:
    found = openslide_version()
    if tuple(int(part) for part in found.split(".")[:3]) < _LEAST_OPENSLIDE:
        advice = "pip install --upgrade openslide-bin: older ones can be made to write anywhere by a crafted BIF"
        return Check("OpenSlide library", "fail", found, advice)
    return Check("OpenSlide library", "ok", found)


def _codecs() -> Check:
    found = codecs()
    missing = [name for name, there in found.items() if not there]
    if missing:
        return Check("codecs", "warn", f"without {', '.join(missing)}", "pip install --force-reinstall imagecodecs")
    return Check("codecs", "ok", ", ".join(found))


def _gpu() -> Check:
    if "CUDAExecutionProvider" in providers():
        return Check("GPU", "ok", "CUDA, used for inference")
    if shutil.which("nvidia-smi"):
        advice = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        return Check("GPU", "warn", "an NVIDIA GPU, but the installed ONNX Runtime cannot use it", advice)
    return Check("GPU", "ok", "none found: inference runs on the processor")


def _disk(folder: Path) -> Check:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free / 1e9
    if free < _LEAST_DISK_GB:
        return Check("disk", "warn", f"{free:.1f} GB free at {there}", f"free at least {_LEAST_DISK_GB:g} GB")
    return Check("disk", "ok", f"{free:.0f} GB free at {there}")


def _attempt(name: str, test: Callable[[], str]) -> Check:
    try:
        return Check(f"self-test: {name}", "ok", test())
    except (SarcoscopeError, OSError) as error:
        return Check(f"self-test: {name}", "fail", str(error), "report this line together with the lines above")


def _noise(side: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    coarse = np.random.default_rng(0).integers(120, 255, (side // 8, side // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


def _per_second(action: Callable[[], int], seconds: float) -> float:
    """How many of what `action` counts are done in a second."""
    action()
    done, begin = 0, perf_counter()
    while (spent := perf_counter() - begin) < seconds:
        done += action()
    return done / spent


def _reading(seconds: float) -> str:
    side, tile = 4096, 512
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as folder:
        path = Path(folder) / "test.svs"
        write_pyramid(path, [_noise(side)], size=Size(side, side), mpp=Mpp(0.5), power=20.0, description="self-test")
        with open_slide(path) as source:
            boxes = [Box(x, y, tile, tile) for y in range(0, side, tile) for x in range(0, side, tile)]
            turn = iter(boxes * 1000)

            def read() -> int:
                source.read(next(turn), Size(tile, tile))
                return 1

            return f"{_per_second(read, seconds):.0f} tiles of 512 px a second in one thread"


def _inference(name: str, seconds: float) -> str:
    bundle = find_bundle(name)
    members = load_members(bundle)
    side = bundle.manifest.tiling.tile_px
    tiles = np.stack([_noise(side)] * 4)

    def predict() -> int:
        for member in members:
            member.logits(tiles)
        return len(tiles)

    rate = _per_second(predict, seconds)
    return f"{rate:.1f} tiles a second, {len(members)} member(s) on {_device(members)}"


def _device(members: list[OnnxNetwork]) -> str:
    return members[0].device.removesuffix("ExecutionProvider")
