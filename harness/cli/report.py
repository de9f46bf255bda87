"""`harness report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import display, options

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
    root: options.WorkspaceOption = options.RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Write one page with every figure, how sure it is, and each comparison behind it.

    The page needs no network. It goes to report.html in the workspace unless --out, --publish or
    --serve say otherwise. `--no-comparisons` leaves prompts and answers out.
    """
    from leaderboard.report.content import build_content
    from leaderboard.report.rendering import render_page, write_report

    report = build_content(root, include_comparisons=comparisons)
    for line in report.messages:
        display.notify(f"note: {line}")
    text = render_page(report)
    if out is None and publish is None and not serve:
        out = root / "report.html"
    paths = write_report(report, text, out, figures, publish)
    if as_json:
        display.print_json({"files": [str(path) for path in paths]})
    else:
        for path in paths:
            typer.echo(path)
    if serve:
        _serve(text, port, show)
    elif show and paths:
        typer.launch(str(paths[-1].absolute()))


def _serve(text: str, port: int, show: bool) -> None:
    from leaderboard.report.server import create_server

    with create_server(text, port) as http_server:
        address = f"http://127.0.0.1:{http_server.server_port}/"
        display.notify(f"{address} (Ctrl-C ends it)")
        if show:
            typer.launch(address)
        http_server.serve_forever()
