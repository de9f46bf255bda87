"""`harness report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import display, options, printing

EXAMPLE = "Example: harness report --out report.html --figures figures"


def command(
    out: Annotated[Path | None, typer.Option("--out", help="The path of the page.")] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", help="Also write figures as PDF and SVG to this directory."),
    ] = None,
    publish: Annotated[
        Path | None, typer.Option("--publish", help="Write a static site to this directory.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page on 127.0.0.1.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0: any free one.")
    ] = 8765,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    comparisons: Annotated[
        bool, typer.Option(help="Include prompts, answers and the judge's replies.")
    ] = True,
    root: options.WorkspaceOption = options.RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Write one page with every figure, its interval, and each comparison behind it.

    The page needs no network. It is written to report.html in the workspace unless --out, --publish
    or --serve is given. `--no-comparisons` omits prompts and answers.
    """
    from leaderboard.report.content import build_content
    from leaderboard.report.rendering import render_page, write_report

    report = build_content(root, include_comparisons=comparisons)
    for line in report.messages:
        printing.notify(f"note: {line}")
    text = render_page(report)
    if out is None and publish is None and not serve:
        out = root / "report.html"
    paths = write_report(report, text, out, figures, publish)
    if as_json:
        display.print_json({"files": [str(path) for path in paths]})
    else:
        for path in paths:
            printing.print_line(path)
    if serve:
        _serve(text, port, show)
    elif show and paths:
        typer.launch(str(paths[-1].absolute()))


def _serve(text: str, port: int, show: bool) -> None:
    from leaderboard.report.server import create_server

    with create_server(text, port) as http_server:
        address = f"http://127.0.0.1:{http_server.server_port}/"
        printing.notify(f"{address} (stop with Ctrl-C)")
        if show:
            typer.launch(address)
        http_server.serve_forever()
