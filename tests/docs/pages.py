"""Commands, options and configurations in the README and the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "baselines/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LOOP = re.compile(r"for (\w+) in (.+); do")
OWN = re.compile(r"# configs/(\w+)/([\w/.-]+)\.yaml\n")


@dataclass(frozen=True)
class Shown:
    """A text that a page shows."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text[:60]}"


@dataclass(frozen=True)
class Configuration:
    """A configuration that a page shows, and its kind and name."""

    page: str
    kind: str
    name: str
    text: str


def blocks(kind: str) -> list[Shown]:
    """Return every block in a language."""
    return [
        Shown(page.relative_to(ROOT).as_posix(), text)
        for page in PAGES
        for language, text in BLOCK.findall(page.read_text("utf-8"))
        if language == kind
    ]


def lines() -> list[Shown]:
    """Return every line of every shell block, without comments."""
    shown_lines = []
    for block in blocks("sh"):
        text = block.text.replace("\\\n", " ")
        typed = (re.sub(r"\s+#.*|^#.*", "", line).strip() for line in text.splitlines())
        plain = [re.sub(r"\s+", " ", line) for line in typed if line]
        shown_lines += [Shown(block.page, line) for line in unrolled(plain)]
    return shown_lines


def unrolled(typed: list[str]) -> list[str]:
    """Return the lines with every loop over words unrolled."""
    for start, line in enumerate(typed):
        if loop := LOOP.fullmatch(line):
            end = typed.index("done", start)
            inner, rest = typed[start + 1 : end], typed[end + 1 :]
            turns = [
                step.replace(f"${loop[1]}", word) for word in loop[2].split() for step in inner
            ]
            return typed[:start] + turns + unrolled(rest)
    return typed


def commands() -> list[Shown]:
    """Return every harness command of every shell block."""
    return [line for line in lines() if line.text.startswith("harness ")]


def spans() -> list[Shown]:
    """Return all inline code."""
    return [
        Shown(page.relative_to(ROOT).as_posix(), text)
        for page in PAGES
        for text in SPAN.findall(BLOCK.sub("", page.read_text("utf-8")))
    ]


def configurations() -> list[Configuration]:
    """Return every YAML block; its first line names its file."""
    shown = []
    for block in blocks("yaml"):
        location = OWN.match(block.text)
        assert location, f"{block}: a configuration begins with a line '# configs/KIND/NAME.yaml'"
        shown.append(Configuration(block.page, location[1], location[2], block.text))
    return shown


def write_configurations(folder: Path) -> None:
    """Write every configuration shown to the file that its page names."""
    for configuration in configurations():
        path = folder / "configs" / configuration.kind / f"{configuration.name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(configuration.text, encoding="utf-8")
