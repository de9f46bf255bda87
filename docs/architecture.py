"""Draw the architecture page's picture and list its files, from the imports and the docstrings.

python docs/architecture.py           # writes docs/architecture.svg and the tree in the page
python docs/architecture.py --check   # says what is out of date; exit code 1
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs/architecture.md", ROOT / "docs/architecture.svg"
BEGIN, END = "<!-- tree -->\n", "<!-- end of tree -->\n"
FLOORS = (
    ("harness.cli",),
    ("harness.api",),
    (
        *("harness.training", "harness.launchers", "harness.engines", "harness.oracles"),
        *("harness.objectives", "baselines", "harness.theory", "harness.benchmarks"),
        *("harness.evaluation", "harness.judges", "leaderboard"),
    ),
    ("harness.protocols",),
    ("harness.scoring", "harness.statistics", "harness.toy"),
    ("harness.core",),
    ("harness.types", "harness.errors"),
)
"""Top first, as in pyproject.toml's contract: a package imports from floors below only."""

WIDTH, BOX_HEIGHT, FLOOR_HEIGHT, MARGIN = 1180, 46, 104, 20


def sources() -> list[Path]:
    """Return the files of the three packages."""
    packages = ("harness", "baselines", "leaderboard")
    return sorted(path for name in packages for path in (ROOT / name).rglob("*.py"))


def module_name(path: Path) -> str:
    """Return a file's module name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def package_of(module: str) -> str | None:
    """Return the box that a module belongs to."""
    names = [name for floor in FLOORS for name in floor]
    return next((n for n in names if module == n or module.startswith(f"{n}.")), None)


def imports(path: Path) -> set[str]:
    """Return the modules of the project that a file imports, wherever in the file."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


def edges() -> Counter[tuple[str, str]]:
    """Count, for each two boxes, the files of the first that import from the second."""
    counted: Counter[tuple[str, str]] = Counter()
    for path in sources():
        box = package_of(module_name(path))
        targets = {package_of(name) for name in imports(path)} - {box, None}
        counted.update((box, target) for target in targets if box and target)
    return counted


def positions() -> dict[str, tuple[float, float, float]]:
    """Return the centre, top and width of every box."""
    placed = {}
    for row, floor in enumerate(FLOORS):
        width = min(230.0, (WIDTH - 2 * MARGIN) / len(floor) - 8)
        step = (WIDTH - 2 * MARGIN) / len(floor)
        for column, name in enumerate(floor):
            centre = MARGIN + step * (column + 0.5)
            placed[name] = (centre, MARGIN + row * FLOOR_HEIGHT, width)
    return placed


def picture() -> str:
    """Return the drawing: floors, boxes with their size, and an arrow an import."""
    boxes, height = positions(), MARGIN * 2 + FLOOR_HEIGHT * (len(FLOORS) - 1) + BOX_HEIGHT
    files = Counter(package_of(module_name(path)) for path in sources())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" text-anchor="middle">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for (first, second), count in sorted(edges().items()):
        (x1, y1, _), (x2, y2, _) = boxes[first], boxes[second]
        opacity = min(0.6, 0.12 + 0.03 * count)
        start, end = y1 + BOX_HEIGHT, y2
        bend = (start + end) / 2
        curve = f"C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {end:.0f}"
        parts.append(
            f'<path d="M{x1:.0f} {start:.0f}{curve}" '
            f'fill="none" stroke="#2b5d9b" stroke-width="1.4" stroke-opacity="{opacity:.2f}"/>'
        )
    for name, (x, y, width) in boxes.items():
        short, count = name.removeprefix("harness."), files[name]
        size = f"{count} files" if count > 1 else "1 file"
        parts.append(
            f'<rect x="{x - width / 2:.0f}" y="{y:.0f}" width="{width:.0f}" height="{BOX_HEIGHT}" '
            'rx="6" fill="#eef3fa" stroke="#2b5d9b"/>'
            f'<text x="{x:.0f}" y="{y + 20:.0f}" font-size="13" font-weight="bold">'
            f"{escape(short)}</text>"
            f'<text x="{x:.0f}" y="{y + 37:.0f}" font-size="11" fill="#555">{size}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def phrase(path: Path) -> str:
    """Return the first sentence of a file's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".")


def tree() -> str:
    """Return the list of all files, a phrase each, under the folder that they lie in."""
    lines, folder = ["```text"], None
    for path in sources():
        parent = path.parent.relative_to(ROOT).as_posix()
        if path.name == "__init__.py":
            if parent != folder:
                lines.append(f"{parent}/".ljust(34) + phrase(path))
                folder = parent
            continue
        if path.name != "__main__.py":
            lines.append(f"  {path.name}".ljust(34) + phrase(path))
    return "\n".join([*lines, "```"]) + "\n"


def page() -> str:
    """Return the page with its tree made again."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return before + BEGIN + tree() + END + rest.split(END)[1]


def main() -> int:
    """Write what is out of date, or say so."""
    wanted = {PICTURE: picture(), PAGE: page()}
    stale = [p for p, text in wanted.items() if not p.is_file() or p.read_text("utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            name = path.relative_to(ROOT)
            sys.stdout.write(f"{name} is out of date: python docs/architecture.py\n")
        else:
            path.write_text(wanted[path], encoding="utf-8")
    return int("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
