"""The directive `command-help`: what `bvx COMMAND --help` prints, taken from the program when the pages are built."""

from __future__ import annotations

from typing import Any, ClassVar

import typer
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from bvx.exporter.cli import app

__all__ = ["CommandHelp", "commands", "help_text", "setup"]

_WIDTH = 88


def commands() -> list[str]:
    """The commands of bvx, in the order in which `bvx --help` lists them."""
    return list(_program().commands)


def help_text(command: str = "") -> str:
    """What `bvx COMMAND --help` prints, or `bvx --help`. Raises KeyError for what is no command."""
    program = _program()
    settings: dict[str, Any] = {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = program.make_context("bvx", [], resilient_parsing=True, **settings)
    if command:
        program = program.commands[command]
        context = program.make_context(command, [], parent=context, resilient_parsing=True, **settings)
    return str(program.get_help(context)).rstrip()


def _program() -> Any:
    return typer.main.get_command(app)


class CommandHelp(Directive):
    """```{command-help} export``` is the help of `bvx export`; without a word it is that of `bvx`."""

    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        text = help_text(*self.arguments)
        block = nodes.literal_block(text, text)
        block["language"] = "text"
        return [block]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
