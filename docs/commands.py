"""Generate one page per command from the command line itself when the documentation is built."""

from collections.abc import Iterator

import typer
from mkdocs.structure.files import File

from harness.cli.main import app


def on_files(files, config):
    """Add a page for every command."""
    for name, page in pages():
        files.append(File.generated(config, f"commands/{name}.md", content=page))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Yield (file name, Markdown) of every command."""
    root = typer.main.get_command(app)
    yield from _walk(root, ("harness",))


def _walk(command, path) -> Iterator[tuple[str, str]]:
    inner = getattr(command, "commands", None)
    if inner:
        for name in sorted(inner):
            yield from _walk(inner[name], (*path, name))
        return
    yield "-".join(path[1:]), _page(command, path)


def _page(command, path) -> str:
    lines = [f"# {' '.join(path)}", "", command.help or "", ""]
    if command.epilog:
        lines += [f"    {command.epilog.removeprefix('Example: ')}", ""]
    rows = [_row(parameter) for parameter in command.params]
    lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(parameter) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    help_text = getattr(parameter, "help", None) or ""
    return f"| {names} | {help_text.replace('|', '/')} |"
