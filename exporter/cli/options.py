"""The words that several commands share."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, BadParameter, Context, Option

from ...runtime.errors import EngineMismatch
from . import completion
from .shell import Shell

__all__ = ["AsJson", "Engine", "Folder", "Precision", "Quiet", "Strict", "Verbose"]


def _raise_voice(context: Context, given: bool) -> bool:
    return _set_voice(context, 1 if given else 0)


def _lower_voice(context: Context, given: bool) -> bool:
    return _set_voice(context, -1 if given else 0)


def _set_voice(context: Context, voice: int) -> bool:
    """Tell the shell, which is the same before and after the command's name."""
    if voice and isinstance(context.obj, Shell):
        if context.obj.voice == -voice:
            raise BadParameter("--verbose and --quiet contradict each other.")
        context.obj.voice = voice
    return bool(voice)


def _check_engine(name: str) -> str:
    # The default is not looked up: finding the names loads NumPy.
    if name == "auto":
        return name
    from ...runtime.engines import ENGINES, find_engine

    try:
        find_engine(name, [target for engine in ENGINES.values() for target in engine.targets])
    except EngineMismatch as error:
        raise BadParameter(str(error)) from error
    return name


AsJson = Annotated[bool, Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Folder = Annotated[str, Argument(metavar="BUNDLE", help="The bundle's folder.")]
Precision = Annotated[
    str | None,
    Option(metavar="NAME", autocompletion=completion.list_one_precision, help="One of the bundle's precisions."),
]
Engine = Annotated[
    str,
    Option(
        metavar="NAME",
        callback=_check_engine,
        autocompletion=completion.list_engines,
        help="The engine that runs the bundle.",
    ),
]
Strict = Annotated[
    bool, Option("--strict", help="Refuse, where --engine auto would leave the GPU that the bundle was made for.")
]
Verbose = Annotated[
    bool, Option("--verbose", "-v", callback=_raise_voice, show_default=False, help="Say more on stderr.")
]
Quiet = Annotated[
    bool,
    Option("--quiet", "-q", callback=_lower_voice, show_default=False, help="Only warnings and errors on stderr."),
]
