"""Make environments of the other Pythons that this machine has, for tests of what they print.

Each is `.pythons/VERSION` with what `harness leaderboard` needs and nothing that computes on a
device. Looked for are python3.11 to python3.13 on the path and among pyenv's versions. Does nothing
where all stands.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ("jinja2", "numpy", "pydantic", "PyYAML", "rich", "scipy", "typer")
MINORS = (11, 12, 13)


def main() -> None:
    """Make what is missing, and say what stands."""
    for minor in MINORS:
        if minor == sys.version_info.minor:
            continue
        python = next(found(minor), None)
        if python is None:
            sys.stdout.write(f"no Python 3.{minor} here\n")
            continue
        folder = ROOT / ".pythons" / f"3.{minor}"
        if not (folder / "whole").exists():
            make(python, folder)
        sys.stdout.write(f"Python 3.{minor} stands in {folder.relative_to(ROOT)}\n")


def found(minor: int) -> Iterator[str]:
    """Yield the interpreters of a version that run."""
    named = shutil.which(f"python3.{minor}")
    versions = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
    for path in (*([named] if named else []), *map(str, versions)):
        asked = (path, "-c", "import sys; print(sys.version_info.minor)")
        told = subprocess.run(asked, capture_output=True, text=True)
        if told.stdout.strip() == str(minor):  # pyenv's stand-ins are there without a Python
            yield path


def make(python: str, folder: Path) -> None:
    """Make an environment with the packages that constraints.txt pins."""
    subprocess.run((python, "-m", "venv", "--clear", str(folder)), check=True)
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet")
    subprocess.run((*pip, "-c", str(ROOT / "constraints.txt"), *NEEDED), check=True)
    (folder / "whole").touch()


if __name__ == "__main__":
    main()
