"""Where a training runs, and what the machine says when it cannot."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sarcoscope.core.errors import TrainingError
from sarcoscope.core.training import TrainConfig
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.training.schedule import Plan

MOST_WORKERS: Final = 16
_COMPILER: Final = ("torch._dynamo", "torch._inductor")
"""Where the errors of torch.compile come from; importing them takes seconds, also where nothing is compiled."""
_NO_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")


def make_accelerator(config: TrainConfig) -> Accelerator:
    """The devices and processes that `accelerate launch` gave, or this machine's best one."""
    cpu = config.device == "cpu" or not torch.cuda.is_available()
    bf16 = config.precision == "bf16" or (config.precision == "auto" and not cpu and torch.cuda.is_bf16_supported())
    precision = "bf16" if bf16 else "no"
    if os.environ.get("WORLD_SIZE", "1") == "1":
        # accelerate keeps one kind for the whole process, and has no public way to part with it
        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001
    return Accelerator(cpu=cpu, mixed_precision=precision)


def worker_count(config: TrainConfig, accelerator: Accelerator) -> int:
    """Processes that read and vary tiles for this process; none on a CPU, which has its hands full."""
    if config.workers is not None:
        return config.workers
    if accelerator.device.type == "cpu":
        return 0
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, own // int(accelerator.num_processes)))


def as_input(images: Tensor, network: CamNetwork, accelerator: Accelerator, *, channels_last: bool) -> Tensor:
    """(B, 3, side, side) uint8 to float32 on the device, as the network expects it."""
    images = images.to(accelerator.device, non_blocking=True)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    mean = torch.tensor(network.mean, device=images.device)[:, None, None]
    std = torch.tensor(network.std, device=images.device)[:, None, None]
    return (images.float() / 255 - mean) / std


def shared(network: CamNetwork, accelerator: Accelerator) -> nn.Module:
    """The network as several processes share it; must be made anew whenever other parameters learn."""
    bare = accelerator.unwrap_model(network, keep_fp32_wrapper=False)
    accelerator.free_memory()
    model: nn.Module = accelerator.prepare_model(bare)
    return model


def align_buffers(network: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the first one's buffers: BatchNorm counted the statistics of its own tiles on each."""
    if accelerator.num_processes > 1:
        for buffer in network.buffers():
            broadcast(buffer.data)


def ema_of(network: CamNetwork, plan: Plan) -> AveragedModel:
    """The exponential moving average of weights and buffers."""
    averaged = get_ema_multi_avg_fn(plan.ema_decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=averaged, use_buffers=True)


@contextmanager
def reproducible(config: TrainConfig, accelerator: Accelerator) -> Iterator[None]:
    """A training's own random numbers and settings of torch; before and after it the process's."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
    try:
        torch.use_deterministic_algorithms(config.deterministic)
        torch.backends.cudnn.benchmark = not config.deterministic
        device = accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@contextmanager
def named_errors(config: TrainConfig, plan: Plan) -> Iterator[None]:
    """Memory that runs out, and a network that torch.compile cannot compile, become a TrainingError with advice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError; a CPU raises a plain one
        if type(error).__module__.startswith(_COMPILER):
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise TrainingError(f"the network cannot be compiled here ({first})", "set compile: false") from error
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _NO_MEMORY):
            raise
        problem = f"out of memory with {config.network.name} and a batch of {plan.batch}"
        advice = f"set length.accumulate: {2 * config.length.accumulate}, or a smaller length.batch or side_px"
        raise TrainingError(problem, advice) from error


def own_gpus(accelerator: Accelerator) -> tuple[str, ...]:
    """UUIDs, as NVML writes them, of the NVIDIA GPUs that all processes train on; none on a CPU."""
    if accelerator.device.type != "cuda" or torch.version.hip:
        return ()
    own = f"GPU-{torch.cuda.get_device_properties(accelerator.device).uuid}"
    return tuple(sorted(set(gather_object([own]))))


def memory_mb(accelerator: Accelerator) -> float:
    """The most memory this process had so far, MB: of the GPU, or on a CPU its own."""
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated(accelerator.device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def device_words(accelerator: Accelerator) -> str:
    """The kind of device, e.g. 'cpu' or 'NVIDIA H100', and how many."""
    name = torch.cuda.get_device_name(accelerator.device) if accelerator.device.type == "cuda" else "cpu"
    return name if accelerator.num_processes == 1 else f"{accelerator.num_processes} x {name}"


def hardware(accelerator: Accelerator) -> dict[str, str | int | float]:
    """What a training ran on, without anything that names the machine."""
    found: dict[str, str | int | float] = {
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision if accelerator.mixed_precision != "no" else "fp32",
        "threads": torch.get_num_threads(),
    }
    if accelerator.device.type == "cuda":
        found["gpu_memory_gb"] = round(torch.cuda.get_device_properties(accelerator.device).total_memory / 1e9, 1)
    return found
