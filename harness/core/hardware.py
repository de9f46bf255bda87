"""Which accelerators this machine lends to a process, and how many of them a component takes.

The kernel's and the driver's own files are read: nothing is imported that would take a device.

How large a model is, without its weights: what a plan needs to know.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.core.config import Component

GPU_DEVICE_FILES = ("nvidia[0-9]*", "kfd", "dxg")
"""What Linux calls GPUs: NVIDIA's, AMD's, and either under Windows' WSL."""


CPU = "CPU"
"""Stands for no accelerator."""
VENDORS = {"nvidia[0-9]*": "NVIDIA", "kfd": "AMD", "dxg": "GPU under WSL"}
"""By what Linux calls a device: whose it is."""
VISIBILITY_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Variables that keep devices from a process: all of them where one is empty or -1."""


def device_name(root: Path = Path("/")) -> str:
    """Return what a process of ours would compute on: an accelerator's name, or `processor`.

    Accelerators that are hidden from it, or that its torch was built without, do not count.

    Args:
        root: Where the system's files lie.
    """
    vendor = next((name for glob, name in VENDORS.items() if _device_files(root, glob)), None)
    hidden = any(os.environ.get(name, "0").strip() in ("", "-1") for name in VISIBILITY_VARIABLES)
    if vendor is None or hidden or _is_cpu_build():
        return CPU
    models = sorted(
        {name for path in _nvidia_information_files(root) if (name := _model_name(path))}
    )
    return " and ".join(models) or vendor


def _device_files(root: Path, glob: str) -> list[Path]:
    return list((root / "dev").glob(glob))


def _nvidia_information_files(root: Path) -> list[Path]:
    return list((root / "proc/driver/nvidia/gpus").glob("*/information"))


def _model_name(path: Path) -> str:
    match = re.search(r"^Model:\s*(.+?)\s*$", path.read_text(errors="replace"), re.MULTILINE)
    return match[1] if match else ""


def _is_cpu_build() -> bool:
    """Say whether torch is a build for processors alone."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


class ModelShape(Component):
    """The sizes of a transformer with gated feed-forward layers, as Llama and its kin have them."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    head_size: int | None = None
    """None: hidden / heads."""
    tied: bool = False
    """Whether the head is the embedding."""

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """A layer's linear maps by the names that Llama's code has for them: inputs, outputs."""
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
        """Parameters of a layer: attention, feed-forward, two norms."""
        return sum(inputs * outputs for inputs, outputs in self.linear.values()) + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        embedding = self.vocabulary * self.hidden
        return (
            embedding * (1 if self.tied else 2) + self.layers * self.layer_parameters + self.hidden
        )


def has_nvidia_device() -> bool:
    """Say whether an NVIDIA device is here, without importing what would take it."""
    return Path("/dev/nvidiactl").exists()


def has_gpu() -> bool:
    """Say whether torch has a GPU; torch is imported only where the kernel knows of one."""
    if not any(path for name in GPU_DEVICE_FILES for path in Path("/dev").glob(name)):
        return False
    import torch

    return bool(torch.cuda.is_available())


def default_device() -> str:
    """Return where tensors go when no one says."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
