"""The report: one HTML page with its data, its charts and the library that draws them; it opens without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...runtime.errors import BvxError
from ..documents import to_json
from ..layout import format_bytes
from .words import (
    describe_environment,
    describe_machine,
    describe_ratio,
    describe_sorting,
    describe_summary,
    find_measured,
    number,
)

__all__ = ["check_libraries", "render_page", "write_page"]

_ORDER = ("threads", "batch", "length", "p50")

_MOST_RUNS = 200
"""Of each cell, for the chart of its distribution; percentiles are of all runs."""


def check_libraries() -> None:
    """Raises BvxError where the extra `report` is not installed: better before hours of measuring than after."""
    try:
        import jinja2
        import vl_convert
    except ModuleNotFoundError as error:
        raise BvxError(
            f"The report needs {error.name}, which is not installed.", "Install it with `pip install bvx[report]`."
        ) from error
    del jinja2, vl_convert


def write_page(document: Mapping[str, Any], path: Path) -> None:
    """Write the page of `document` to `path`. Raises BvxError where the extra `report` is not installed."""
    path.write_text(render_page(document), encoding="utf-8")


def render_page(document: Mapping[str, Any]) -> str:
    """The whole page as text. Vega, Vega-Lite and Vega-Embed are in it (BSD-3-Clause), as vl-convert bundles them."""
    check_libraries()
    import jinja2

    home = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(home), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "number": number,
        "size": format_bytes,
        "ratio": describe_ratio,
        "sorting": describe_sorting,
    }
    return environment.get_template("report.html").render(
        document=document,
        machine=describe_environment(document),
        conditions=describe_machine(document),
        summary=[line for line in describe_summary(document) if line != describe_machine(document)],
        cells=sorted(find_measured(document), key=lambda one: [one[name] for name in _ORDER]),
        skipped=_list_skipped(document),
        filters=_list_filters(document),
        style=(home / "report.css").read_text(encoding="utf-8"),
        script=(home / "report.js").read_text(encoding="utf-8"),
        library=_bundle_library(),
        data=_embed(_thin(document)),
    )


@cache
def _bundle_library() -> str:
    """The JavaScript of the charts, about 900 kB; putting it together takes seconds."""
    import vl_convert

    return vl_convert.javascript_bundle().replace("</script", "<\\/script")  # type: ignore[call-arg]  # its stub forgets the default


def _list_filters(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """What can be filtered by: the names of each, in the order of the document."""
    cells = find_measured(document)
    measured = {cell["contender"] for cell in cells}
    known = [one for one in document["contenders"] if one["contender"] in measured]
    found = {
        "engine": list(dict.fromkeys(one["contender"] for one in known)),
        "precision": list(dict.fromkeys(one["precision"] for one in known)),
        "shape": list(dict.fromkeys(f"{cell['batch']}x{cell['length']}" for cell in cells)),
        "threads": list(dict.fromkeys(str(cell["threads"]) for cell in cells)),
    }
    if len(found["threads"]) < 2:
        del found["threads"]
    return found


def _list_skipped(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(one["contender"], one["skipped"]) for one in document["contenders"] if "skipped" in one]
    cells = [one for one in document["cells"] if "skipped" in one]
    found += [(f"{one['contender']} at {one['batch']}x{one['length']}", one["skipped"]) for one in cells]
    return list(dict.fromkeys(found))


def _thin(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the charts are drawn from."""
    about = {
        one["contender"]: {name: one[name] for name in ("precision", "model", "ours")} for one in document["contenders"]
    }
    cells = []
    for cell in find_measured(document):
        runs = [taken for turn in cell["turns"] for taken in turn]
        step = max(1, len(runs) // _MOST_RUNS)
        kept = {name: value for name, value in cell.items() if name not in ("turns", "work", "yardstick")}
        cells.append({**kept, **about[cell["contender"]], "runs": [float(f"{one:.4g}") for one in runs[::step]]})
    concurrency = [{**one, **about[one["contender"]]} for one in document["concurrency"]]
    accuracy = list(_list_accuracies(document))
    return {"cells": cells, "concurrency": concurrency, "accuracy": accuracy, "baseline": document["baseline"]}


def _list_accuracies(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What each precision of a bundle scores: a variant was judged beside fp32, whose score is `before`."""
    for row in document["accuracy"]:
        same = {"model": row["model"], "metric": row["metric"]}
        yield {**same, "precision": row["variant"].partition("/")[0], "value": row["after"]}
        yield {**same, "precision": "fp32", "value": row["before"]}


def _embed(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: nothing in it ends one."""
    return json.dumps(json.loads(to_json(data))).replace("<", "\\u003c").replace("&", "\\u0026")
