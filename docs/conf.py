"""How the documentation is built: `make docs`. Nothing is fetched; a warning is an error there."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import bvx

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "bvx"
author = "the authors of bvx"
version = release = bvx.__version__

extensions = ["command_help", "myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["extensions"]

html_theme = "furo"
html_title = f"bvx {version}"
html_copy_source = False
html_show_copyright = False

# Headings are linked to as on a code forge, so that the pages read there as well.
myst_heading_anchors = 3

# Docstrings write `code` with single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# Nobody makes a model by its class; what a dataclass takes are its attributes.
autodoc_class_signature = "separated"
autodoc_default_options = {"special-members": "__call__", "exclude-members": "__init__, __new__"}

nitpicky = True
# What other libraries document, and names that signatures use and no page explains.
nitpick_ignore_regex = [
    (r"py:.*", r"(abc|builtins|collections|numpy|pathlib|types|typing)\..*"),
    (r"py:.*", r"(Any|Floats|Iterable|Literal|Mapping|NDArray|Path|Self|Sequence|TracebackType|TypedDict|np\..*)"),
]


def _draw_tree(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Show the tree at the top of the errors as it is drawn."""
    if name == "bvx.runtime.errors":
        lines[:] = [lines[0], "", "::", "", *(f"    {line}" for line in lines[1:])]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _draw_tree)
