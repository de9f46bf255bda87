"""The accelerators that a process may use, and the size of a model without its weights.

Where possible the files of the kernel and the driver are read: importing torch takes seconds, and
opening a device takes memory on it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from harness.core.config import Component

CPU = "CPU"
"""The device name of a process without an accelerator."""
VENDORS = {"nvidia[0-9]*": "NVIDIA", "kfd": "AMD", "dxg": "GPU under WSL"}
"""Vendors by the pattern of their device files on Linux."""
VISIBILITY_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Environment variables that hide all devices if they are empty or -1."""


def device_name(root: Path = Path("/")) -> str:
    """Return the model of the accelerators that this process may use, or `CPU`.

    Accelerators that are hidden from the process, or that the installed torch cannot use, do not
    count.

    Args:
        root: the root of the file system.
    """
    vendor = _vendor(root)
    hidden = any(os.environ.get(name, "0").strip() in ("", "-1") for name in VISIBILITY_VARIABLES)
    if vendor is None or hidden or _is_cpu_build():
        return CPU
    information_files = (root / "proc/driver/nvidia/gpus").glob("*/information")
    models = sorted({name for path in information_files if (name := _model_name(path))})
    return " and ".join(models) or vendor


def has_nvidia_device() -> bool:
    """Return whether the driver of an NVIDIA GPU is loaded, without importing torch."""
    return Path("/dev/nvidiactl").exists()


def has_gpu() -> bool:
    """Return whether torch can use a GPU; torch is imported only if the kernel knows one."""
    if _vendor(Path("/")) is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def limit_threads(count: int) -> None:
    """Compute with `count` threads on the CPU, in this process and in those that it starts."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


def default_device() -> str:
    """Return the torch device of this process: its GPU by `LOCAL_RANK`, or `cpu` without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


def visible_gpus() -> list[str]:
    """Return the names under which CUDA knows the GPUs that this process may use."""
    import torch

    return gpu_names(os.environ.get(VISIBILITY_VARIABLES[0]), torch.cuda.device_count())


def gpu_names(visible: str | None, count: int) -> list[str]:
    """Return CUDA's names of GPUs.

    Args:
        visible: the value of `CUDA_VISIBLE_DEVICES`; None if it is not set.
        count: how many GPUs CUDA finds; it ignores names after one that it does not know.
    """
    return (visible.split(",") if visible else [str(index) for index in range(count)])[:count]


def _vendor(root: Path) -> str | None:
    return next((name for glob, name in VENDORS.items() if any((root / "dev").glob(glob))), None)


def _model_name(path: Path) -> str:
    match = re.search(r"^Model:\s*(.+?)\s*$", path.read_text(errors="replace"), re.MULTILINE)
    return match[1] if match else ""


def _is_cpu_build() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


class ModelShape(Component):
    """The sizes of a transformer with gated feed-forward layers, as in the Llama family."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    head_size: int | None = None
    """None: hidden / heads."""
    tied: bool = False
    """Whether the output head shares the embedding's weights."""

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of a layer's linear maps, by their names in Llama's code."""
        size = self.head_size or self.hidden // self.heads
        all_heads, shared_heads = self.heads * size, self.key_value_heads * size
        return {
            "self_attn.q_proj": (self.hidden, all_heads),
            "self_attn.k_proj": (self.hidden, shared_heads),
            "self_attn.v_proj": (self.hidden, shared_heads),
            "self_attn.o_proj": (all_heads, self.hidden),
            "mlp.gate_proj": (self.hidden, self.intermediate),
            "mlp.up_proj": (self.hidden, self.intermediate),
            "mlp.down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer_parameters(self) -> int:
        """The parameters of one layer: attention, feed-forward and two norms."""
        return sum(inputs * outputs for inputs, outputs in self.linear.values()) + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """The parameters of the whole model."""
        embedding = self.vocabulary * self.hidden
        return (
            embedding * (1 if self.tied else 2) + self.layers * self.layer_parameters + self.hidden
        )


def group_backend(gpus: bool) -> str:
    """Return torch's backend for a process group; optimiser shards may be in CPU memory."""
    return "cpu:gloo,cuda:nccl" if gpus else "gloo"
