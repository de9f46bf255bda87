"""Time and memory of a training run on a CPU or a CUDA device."""

import itertools
import time
from pathlib import Path


class Clock:
    """Times epochs from the second on (the first warms up), and measures memory growth."""

    def __init__(self, steps, device):
        self.steps, self.device, self.marks = steps, device, []
        self.before = reset_peak(device)

    def rewind(self, step):
        self.marks = [now(self.device)]

    def add(self, row=None):
        self.marks.append(now(self.device))

    def seconds(self):
        epochs = self.marks[:: self.steps]
        return min(b - a for a, b in itertools.pairwise(epochs))

    def growth(self):
        return (peak(self.device) - self.before) / 2**20


def now(device):
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def reset_peak(device):
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def peak(device):
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return resident("VmHWM")


def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))
