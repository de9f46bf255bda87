"""Whether a component's code has changed while its version has not: `make versions` keeps a table.

A component of the package is part of a stage's name by its fields and its `result_version`, not by
its code. The table holds a digest of the code of each: of the class, and of the functions, classes
and constants of the package that it names, and they name, comments and docstrings left out. What
lies in the lowest floors (`harness/core`, the protocols, the records) is left out too.

    python docs/component_versions.py                              write what is new into the table
    python docs/component_versions.py --same-result INPO SoftINPO  their results are as before
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness.core.io import text_sha256
from harness.core.source_code import normalise

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".json")
PACKAGES = ("harness", "baselines")
OTHERS = (
    *("harness.launchers", "harness.training.tracking", "harness.training.estimate"),
    *("harness.judges.costs", "harness.core.config", "harness.core.hardware"),
    *(f"harness.theory.{name}" for name in ("convergence", "dynamics", "population", "regret")),
    *("harness.theory.pairs", "harness.theory.selection", "harness.theory.closed_form"),
)
"""Whose components enter no stage and no result: launchers, trackers, costs, exact games."""
FLOORS = ("harness.core", "harness.types", "harness.errors", "harness.protocols")
COMPONENT = ("harness.core.config", "Component")
Symbol = tuple[str, str]
"""A module and a name in it."""
Table = Mapping[str, Mapping[str, int | str]]


@dataclass
class Module:
    """The names that a module defines or imports at its top level."""

    text: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tree = ast.parse(self.text)
        for node in tree.body:
            for name in _defined(node):
                self.definitions.setdefault(name, []).append(node)
        for inner in ast.walk(tree):
            match inner:
                case ast.ImportFrom(module=str(source), names=names, level=0):
                    self.imports |= {a.asname or a.name: (source, a.name) for a in names}
                case ast.Import(names=names):
                    self.imports |= {a.asname: (a.name, None) for a in names if a.asname}

    def source(self, name: str) -> str:
        """Return the code of a name's definitions, decorators included."""
        if name not in self._sources:
            segments = [normalise(self._segment(node)) for node in self.definitions[name]]
            self._sources[name] = "\n".join(segments)
        return self._sources[name]

    def _segment(self, node: ast.stmt) -> str:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        return "\n".join(self.text.split("\n")[first - 1 : node.end_lineno])


@dataclass(frozen=True)
class Code:
    """The modules of the package by name."""

    modules: Mapping[str, Module]

    @cached_property
    def components(self) -> list[Symbol]:
        """The classes that are derived from Component, those of `OTHERS` left out."""
        classes = [
            (module, name)
            for module, code in self.modules.items()
            for name, (node, *_) in code.definitions.items()
            if isinstance(node, ast.ClassDef) and not _within(module, OTHERS)
        ]
        return sorted(symbol for symbol in classes if COMPONENT in self._ancestors(symbol))

    def version(self, symbol: Symbol) -> int:
        """Return a component's `result_version`, its own or an ancestor's."""
        for module, name in self._ancestors(symbol):
            (node, *_) = self.modules[module].definitions[name]
            for line in getattr(node, "body", []):
                match line:
                    case ast.AnnAssign(
                        target=ast.Name(id="result_version"), value=ast.Constant(value=int(number))
                    ):
                        return number
        return 1

    def digest(self, symbol: Symbol) -> str:
        """Return a digest of the code of a component and of all that it names in the package."""
        pending, visited = [symbol], set[Symbol]()
        while pending:
            current = pending.pop()
            if current in visited or (current != symbol and _within(current[0], FLOORS)):
                continue
            visited.add(current)
            pending += self._named_in(current)
        parts = [f"{m}:{n}\n{self.modules[m].source(n)}" for m, n in sorted(visited)]
        return text_sha256("\n".join(parts))[:20]

    def _ancestors(self, symbol: Symbol) -> list[Symbol]:
        """Return a class and those that it is derived from, nearest first."""
        lineage = [symbol]
        for module, name in lineage:
            (node, *_) = self.modules[module].definitions[name]
            for base in getattr(node, "bases", []):
                lineage += [s for s in self._symbols(module, base) if s not in lineage]
        return lineage

    def _named_in(self, symbol: Symbol) -> Iterator[Symbol]:
        module, name = symbol
        for node in self.modules[module].definitions[name]:
            for inner in ast.walk(node):
                yield from self._symbols(module, inner)

    def _symbols(self, module: str, node: ast.AST) -> Iterator[Symbol]:
        """Yield what a node refers to, if it is a name, or a name in a module."""
        code = self.modules[module]
        match node:
            case ast.Name(id=name) if name in code.definitions:
                yield module, name
            case ast.Name(id=name) if name in code.imports:
                source, attribute = code.imports[name]
                if attribute is not None:
                    yield from self._symbol(source, attribute)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in code.imports:
                source, inner = code.imports[name]
                yield from self._symbol(f"{source}.{inner}" if inner else source, attribute)

    def _symbol(self, module: str, name: str) -> Iterator[Symbol]:
        code = self.modules.get(module)
        if code and name in code.definitions:
            yield module, name
        elif code and name in code.imports and (inner := code.imports[name][1]) is not None:
            yield from self._symbol(code.imports[name][0], inner)


def read_code(root: Path = ROOT) -> Code:
    """Return the code of the package."""
    paths = [path for name in PACKAGES for path in sorted((root / name).rglob("*.py"))]
    names = (path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in paths)
    modules = (name.removesuffix(".__init__") for name in names)
    texts = (path.read_text("utf-8") for path in paths)
    return Code({name: Module(text) for name, text in zip(modules, texts, strict=True)})


def current_table(code: Code) -> dict[str, dict[str, int | str]]:
    """Return version and digest of every component as it is now."""
    return {
        ":".join(symbol): {"version": code.version(symbol), "code": code.digest(symbol)}
        for symbol in code.components
    }


def undeclared(old: Table, new: Table, same_result: Collection[str] = ()) -> list[str]:
    """Return the components whose code has changed, and of which nobody has said what it changes.

    Args:
        old: the table as it was written.
        new: the table of the code as it is.
        same_result: components whose results are as before: names, `module:Name`, or modules.
    """
    changed = [name for name in new if name in old and new[name]["code"] != old[name]["code"]]
    silent = [name for name in changed if new[name]["version"] == old[name]["version"]]
    return [name for name in silent if not any(_is_called(name, call) for call in same_result)]


def main(arguments: list[str] | None = None) -> str | None:
    """Write the table, unless a component's code has changed and its version has not: say so."""
    parser = argparse.ArgumentParser(description="Keep the table of the components' versions.")
    parser.add_argument("--same-result", nargs="+", default=[], metavar="CLASS")
    options = parser.parse_args(arguments)
    old = json.loads(TABLE.read_text("utf-8")) if TABLE.is_file() else {}
    new = current_table(read_code())
    if names := undeclared(old, new, options.same_result):
        return (
            "The code of these components has changed. Raise `result_version: ClassVar[int]` of "
            "those that give other results than before; name the others with --same-result:\n"
            + "\n".join(f"  {name}" for name in names)
        )
    TABLE.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return None


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.Assign(targets=targets):
            names = [n for target in targets for n in ast.walk(target)]
            return [name.id for name in names if isinstance(name, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _within(module: str, packages: Collection[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _is_called(name: str, call: str) -> bool:
    module, _, own = name.partition(":")
    return call in (name, own) or _within(module, [call])


if __name__ == "__main__":
    sys.exit(main())
