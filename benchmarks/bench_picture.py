"""The picture of a measurement: a bar for each engine with its interval, a column for each shape, as an SVG.

It is readable on light and dark pages: a style in it asks the reader's preference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vl_convert
from targets import find_cell

from bvx.exporter.bench.words import number

__all__ = ["draw_picture"]

_INK, _OURS, _OTHERS, _SOFT = "#24292f", "#0b62b8", "#8c959f", "#57606b"
_DARK = {_INK: "#e6edf3", _OURS: "#58a6ff", _OTHERS: "#768390", _SOFT: "#adbac7"}
_WIDTH = 150
_FAR = 3.0
"""A bar that is so many times as long as the middle one is cut off; its figure is there all the same."""


def draw_picture(document: Mapping[str, Any], threads: int, path: Path) -> None:
    """Write the SVG of what was measured on `threads` threads to `path`."""
    names = {one["contender"]: one for one in document["contenders"] if "skipped" not in one}
    rows = []
    for batch, length in document["asked"]["shapes"]:
        for name, one in names.items():
            if cell := find_cell(document, name, threads, batch, length):
                rows.append(
                    {
                        "engine": name if one["precision"] in name or "int8" in name else f"{name} {one['precision']}",
                        "ours": one["ours"],
                        "shape": f"{batch}x{length}",
                        **{key: cell[key] for key in ("p50", "low", "high")},
                        "label": number(cell["p50"]),
                    }
                )
    order = _order(rows)
    (model,) = document["models"]
    # Of a run that was interrupted, what it came to.
    spec = _specify(rows, order, list(dict.fromkeys(row["shape"] for row in rows)))
    spec["title"]["text"] = (
        f"{model['model'].removesuffix('.bvx')}, {threads} thread{'s' * (threads != 1)}: "
        "median milliseconds, shorter is faster"
    )
    spec["title"]["subtitle"] = f"{document['machine']['cpu']}; the line on a bar is its 95 % interval; blue is bvx"
    svg = vl_convert.vegalite_to_svg(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_add_dark(svg, _describe(rows)), encoding="utf-8")


def _order(rows: list[dict[str, Any]]) -> list[str]:
    """The fastest first, by the middle of a row's ratios to the fastest of each shape."""
    best = {row["shape"]: min(one["p50"] for one in rows if one["shape"] == row["shape"]) for row in rows}
    ratios: dict[str, list[float]] = {}
    for row in rows:
        ratios.setdefault(row["engine"], []).append(row["p50"] / best[row["shape"]])
    return sorted(ratios, key=lambda name: sorted(ratios[name])[len(ratios[name]) // 2])


def _specify(rows: list[dict[str, Any]], order: list[str], shapes: list[str]) -> dict[str, Any]:
    y = {"field": "engine", "type": "nominal", "sort": order, "title": None}
    columns = []
    for position, shape in enumerate(shapes):
        here, edge = _cut_off([row for row in rows if row["shape"] == shape])
        axis = {"ticks": False, "domain": False, "labelPadding": 6, **({} if position == 0 else {"labels": False})}
        x = {"type": "quantitative", "title": None, "scale": {"domainMax": 1.3 * edge}}
        place = {**y, "axis": axis}
        columns.append(
            {
                "title": {"text": shape, "fontSize": 12, "anchor": "start"},
                "width": _WIDTH,
                "height": {"step": 19},
                "data": {"values": here},
                "layer": [
                    {
                        "mark": {"type": "bar", "height": 12, "cornerRadiusEnd": 1},
                        "encoding": {
                            "y": place,
                            "x": {"field": "p50", **x, "axis": None},
                            "color": {"condition": {"test": "datum.ours", "value": _OURS}, "value": _OTHERS},
                        },
                    },
                    {
                        "mark": {"type": "rule", "strokeWidth": 2, "color": _INK},
                        "encoding": {"y": place, "x": {"field": "low", **x}, "x2": {"field": "high"}},
                    },
                    {
                        "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 11, "color": _INK},
                        "encoding": {"y": place, "x": {"field": "high", **x}, "text": {"field": "label"}},
                    },
                ],
            }
        )
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "transparent",
        "padding": 8,
        "hconcat": columns,
        "spacing": 14,
        "title": {"text": "", "anchor": "start", "fontSize": 14, "subtitleFontSize": 11, "offset": 10},
        "config": {
            "view": {"stroke": None},
            "font": "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif",
            "axis": {"labelColor": _INK, "labelFontSize": 12, "labelLimit": 220, "grid": False},
            "title": {"color": _INK, "subtitleColor": _SOFT},
        },
    }


def _cut_off(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], float]:
    """The rows with their ends inside the picture, and where its edge is."""
    middle = sorted(row["p50"] for row in rows)[len(rows) // 2]
    edge = max(row["high"] for row in rows if row["p50"] <= _FAR * middle)
    found = []
    for row in rows:
        cut = {name: min(row[name], edge) for name in ("p50", "low", "high")}
        found.append({**row, **cut, "label": f"{row['label']} ▸" if row["p50"] > edge else row["label"]})
    return found, edge


def _describe(rows: list[dict[str, Any]]) -> str:
    """The figures in words, for those who do not see the picture."""
    shapes = dict.fromkeys(row["shape"] for row in rows)
    parts = []
    for shape in shapes:
        here = sorted((row for row in rows if row["shape"] == shape), key=lambda row: row["p50"])
        parts.append(f"{shape}: " + ", ".join(f"{row['engine']} {row['label']}" for row in here))
    return "Median milliseconds. " + "; ".join(parts) + "."


def _add_dark(svg: str, words: str) -> str:
    """Colours for dark pages, and the description."""
    rules = "".join(
        f'[fill="{light}"]{{fill:{dark}}}[stroke="{light}"]{{stroke:{dark}}}' for light, dark in _DARK.items()
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    opened = re.search(r"<svg[^>]*>", svg)
    assert opened is not None
    start, rest = svg[: opened.end()], svg[opened.end() :]
    return f"{start}<title>Latency beside other tools</title><desc>{words}</desc>{style}{rest}\n"
