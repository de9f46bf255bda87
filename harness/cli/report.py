"""`harness report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import screen

EXAMPLE = "Example: harness report --out report.html --figures figures"


def command(
    out: Annotated[Path | None, typer.Option("--out", help="Where the page goes.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Also draw PDF and SVG into this folder.")
    ] = None,
    publish: Annotated[
        Path | None, typer.Option("--publish", help="Write a static site into this folder.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it on 127.0.0.1.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any.")] = 8765,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    comparisons: Annotated[
        bool, typer.Option(help="With prompts, answers and the judge's replies.")
    ] = True,
    root: screen.WorkspaceOption = screen.RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Write one page with every figure, how sure it is, and each comparison behind it.

    The page needs no network. It goes to report.html in the workspace unless --out, --publish or
    --serve say otherwise. `--no-comparisons` leaves prompts and answers out.
    """
    from leaderboard.report.content import content
    from leaderboard.report.page import page
    from leaderboard.report.written import write

    found = content(root, comparisons=comparisons)
    for line in found.told:
        screen.say(f"note: {line}")
    text = page(found)
    if out is None and publish is None and not serve:
        out = root / "report.html"
    written = write(found, text, out, figures, publish)
    if as_json:
        screen.show({"files": [str(path) for path in written]})
    else:
        for path in written:
            typer.echo(path)
    if serve:
        _serve(text, port, show)
    elif show and written:
        typer.launch(str(written[-1].absolute()))


def _serve(text: str, port: int, show: bool) -> None:
    from leaderboard.report.serve import server

    with server(text, port) as serving:
        address = f"http://127.0.0.1:{serving.server_port}/"
        screen.say(f"{address} (Ctrl-C ends it)")
        if show:
            typer.launch(address)
        serving.serve_forever()
