"""The code behind a class or a function that is not part of the harness, as digests of its files.

A user's objective or oracle decides a result as its settings do, so its file counts, with the files
that it imports from its own folder or from others on the path. The standard library does not, nor
do packages that the harness itself rests on; another installed package counts by its version and
the hashes of its files. Comments, docstrings and blank lines do not count. What code reads while it
runs (data files, modules under computed names) is not seen.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import inspect
import io
import site
import sys
import sysconfig
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from harness.core.io import text_sha256
from harness.core.seeds import digest
from harness.errors import CheckError

PACKAGES = frozenset({"harness", "baselines", "leaderboard"})
"""Their classes go by a version, see `Component.result_version`."""
REQUIRED = frozenset(
    {
        *("torch", "transformers", "tokenizers", "safetensors", "peft", "datasets", "pyarrow"),
        *("vllm", "lm_eval", "openai", "tiktoken", "numpy", "scipy", "pandas", "pydantic"),
        *("typing_extensions", "yaml", "jinja2", "rich", "typer"),
    }
)
"""Packages that the harness rests on; a manifest records the versions of those that matter."""
NO_FILE = "code without a file"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


_identified: dict[type | Callable[..., Any], dict[str, str]] = {}
"""The classes and functions that were asked for, with the digests of their code as it was then."""


def code_digests(value: type | Callable[..., Any]) -> dict[str, str]:
    """Return the digest of each file of code behind a class or a function, by the file's name.

    An installed package is one entry, `name==version`. Empty for code of the harness. The code is
    read when it is first asked for and does not change in a process, as loaded modules do not.
    """
    if (value.__module__ or "").partition(".")[0] in PACKAGES:
        return {}
    if value not in _identified:
        _identified[value] = _read_code(value)
    return _identified[value]


def check_code_unchanged() -> None:
    """Refuse to go on if code has been edited since this process identified it.

    Another process would run the new code, and its result would be filed as that of the old.

    Raises:
        CheckError: a file differs.
    """
    for value, before in _identified.items():
        if _is_importable(value) and (after := _read_code(value)) != before:
            changed = sorted(
                n for n in before.keys() | after.keys() if before.get(n) != after.get(n)
            )
            raise CheckError(
                f"the code of {value.__module__}:{value.__qualname__} ({', '.join(changed)}) was "
                "edited while it was in use; what was stored before is intact: run again, under "
                "another name if the edit changes results"
            )


def _is_importable(value: type | Callable[..., Any]) -> bool:
    """Say whether another process could import this very object: not if it was reloaded."""
    module = sys.modules.get(value.__module__)
    file = getattr(module, "__file__", None)
    is_own = getattr(module, value.__qualname__, None) is value
    return is_own and file is not None and Path(file).is_file()


def _read_code(value: type | Callable[..., Any]) -> dict[str, str]:
    file = getattr(sys.modules.get(value.__module__), "__file__", None)
    if file is None or not Path(file).is_file():
        return {NO_FILE: digest(sorted(_code_without_file(value, set())))}
    path = Path(file).absolute()
    if _is_installed(path):
        return dict([_distribution(value.__module__.partition(".")[0])])
    return dict(sorted(_files(path, _root(path, value.__module__))))


def normalise(text: str) -> str:
    """Return a Python source without comments, docstrings and blank lines.

    Text that is no Python is returned as it is.
    """
    try:
        spans = [*_docstrings(text), *_comments(text)]
    except (SyntaxError, ValueError, tokenize.TokenError):
        return text
    lines = text.split("\n")
    for (first, start), (last, end) in sorted(spans, reverse=True):
        lines[first - 1 : last] = [lines[first - 1][:start] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


Span = tuple[tuple[int, int], tuple[int, int]]


def _docstrings(text: str) -> Iterator[Span]:
    lines = [line.encode() for line in text.split("\n")]  # columns of a syntax tree are bytes
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            last = first.end_lineno or first.lineno
            end = len(lines[last - 1][: first.end_col_offset or 0].decode())
            yield (first.lineno, first.col_offset), (last, end)


def _comments(text: str) -> Iterator[Span]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start, token.end


def _files(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and digest of a file and of all that it imports, packages included."""
    pending, visited = [(path, root)], set[Path]()
    packages: set[str] = set()
    while pending:
        path, root = pending.pop()
        if path in visited:
            continue
        visited.add(path)
        text = path.read_text("utf-8", errors="surrogateescape")
        yield path.relative_to(root).as_posix(), text_sha256(ascii(normalise(text)))
        for module in imported_modules(text, _package(path, root)):
            files = list(_locate(module, root))
            pending += files
            if not files and not module.startswith("."):
                packages.add(module.partition(".")[0])
    for package in sorted(packages - PACKAGES - REQUIRED - sys.stdlib_module_names):
        with suppress(importlib.metadata.PackageNotFoundError):
            yield _distribution(package)


def imported_modules(text: str, package: Sequence[str]) -> list[str]:
    """Return the modules that a source imports anywhere, and the names that may be modules.

    Args:
        text: the source.
        package: the parts of the name of its package, for relative imports.
    """
    modules: list[str] = []
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Import(names=names):
                    modules += [alias.name for alias in names]
                case ast.ImportFrom(module=module, names=names, level=level):
                    base = [*package[: len(package) - level + 1]] if level else []
                    base += [module] if module else []
                    modules += [".".join([*base, alias.name]) for alias in names]
                case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _imports(node):
                    modules.append(name)
    return modules


def _imports(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in ("import_module", "__import__")


def _locate(module: str, root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files of a module and of the packages around it, with the folder of the first."""
    parts = module.split(".")
    if parts[0] in PACKAGES:
        return
    for folder in dict.fromkeys((root, *_own_folders())):
        files = [
            file
            for depth in range(1, len(parts) + 1)
            for file in _candidates(folder.joinpath(*parts[:depth]))
            if file.is_file()
        ]
        if files:
            yield from ((file, folder) for file in files)
            return


def _candidates(path: Path) -> tuple[Path, Path]:
    return path / "__init__.py", path.with_name(f"{path.name}.py")


def _own_folders() -> list[Path]:
    """Return the folders on the path that hold neither the standard library nor packages."""
    library = Path(sysconfig.get_path("stdlib"))
    folders = [Path(entry).absolute() for entry in sys.path if entry]
    return [
        folder
        for folder in folders
        if folder.is_dir() and not _is_installed(folder) and not folder.is_relative_to(library)
    ]


def _is_installed(path: Path) -> bool:
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return any(path.is_relative_to(folder) for folder in folders)


def _distribution(package: str) -> tuple[str, str]:
    """Return an installed package as `name==version`, and the digest of its record of files.

    Raises:
        PackageNotFoundError: no distribution holds it.
    """
    names = _package_owners().get(package)
    if not names:
        raise importlib.metadata.PackageNotFoundError(package)
    owner = importlib.metadata.distribution(names[0])
    return f"{names[0]}=={owner.version}", text_sha256(owner.read_text("RECORD") or "")


@functools.cache
def _package_owners() -> dict[str, list[str]]:
    return {name: sorted(o) for name, o in importlib.metadata.packages_distributions().items()}


def _root(path: Path, module: str) -> Path:
    """Return the folder from which a module is imported by its name."""
    parts = module.split(".")
    file = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return (
        file.parents[len(parts) - 1] if file.parts[-len(parts) :] == tuple(parts) else path.parent
    )


def _package(path: Path, root: Path) -> tuple[str, ...]:
    return path.relative_to(root).parent.parts


def _code_without_file(value: Any, visited: set[str]) -> Iterator[str]:
    """Yield the code of what was typed into a session, and of what it names there."""
    if isinstance(value, type):
        for name, member in sorted(vars(value).items()):
            member = getattr(member, "__func__", member)
            if isinstance(member, FunctionType):
                yield from (f"{name}: {text}" for text in _code_without_file(member, visited))
    elif isinstance(value, FunctionType) and value.__qualname__ not in visited:
        visited.add(value.__qualname__)
        yield _function_text(value)
        for name in sorted(_global_names(value.__code__)):
            inner = value.__globals__.get(name)
            if getattr(inner, "__module__", None) == value.__module__:
                yield from _code_without_file(inner, visited)


def _function_text(function: FunctionType) -> str:
    try:
        return normalise(inspect.getsource(function))
    except (OSError, TypeError):
        return f"{function.__code__.co_code.hex()} {function.__code__.co_consts!r}"


def _global_names(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*(_global_names(part) for part in inner))
