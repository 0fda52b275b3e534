"""What a person reads: every command's JSON document but the answers', as lines and tables, still plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .accuracy_views import name_accuracy, name_latency, view_calibration, view_recommendation, view_tradeoff
from .build_views import view_choices, view_engines
from .evidence_views import view_evidence
from .layout import Block, Table, Verbatim, format_bytes, shorten

__all__ = [
    "view_bundle",
    "view_details",
    "view_doctor",
    "view_export",
    "view_verification",
    "view_versions",
]


def view_bundle(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx inspect`: inspection.describe's document."""
    model = document["model"]
    facts = [
        ("model", _name_model(model)),
        ("family, task", f"{document['family']}, {document['task']}"),
        ("parameters", f"{model['parameters']:,}"),
        ("length", f"up to {document['max_length']} tokens, special tokens included"),
        ("inputs", ", ".join(map(_name_tensor, document["inputs"]))),
        ("outputs", ", ".join(map(_name_tensor, document["outputs"]))),
        *((f"{name}", shorten(_spell(value))) for name, value in document["head"].items()),
        *(("profile", _name_profile(profile)) for profile in document["profiles"]),
        ("tokenizer", _name_tokenizer(document["tokenizer"])),
        ("made by", f"bvx {document['bvx_version']}" + _name_tools(document["tools"])),
    ]
    if model["unexpected_weights"]:
        facts.append(("unused weights", shorten(", ".join(model["unexpected_weights"]))))
    if model["new_weights"]:
        facts.append(("never trained", shorten(", ".join(model["new_weights"]))))
    yield document["path"]
    yield Table("", (), tuple(facts))
    yield Table(
        "Variants",
        ("variant", "size", "state", "file"),
        tuple((one["key"], format_bytes(one["bytes"]), one["state"], one["file"]) for one in document["variants"]),
    )
    for variant in document["variants"]:
        yield from _view_parity(f"Parity of {variant['key']} with PyTorch{_name_place(variant)}", variant["parity"])
        if variant["kept"]:
            yield Table(f"Kept in higher precision in {variant['key']}", (), tuple(variant["kept"].items()))
    yield from view_choices(document["choices"])
    yield from view_evidence(document)
    yield from view_calibration(document)
    yield from _view_passes(document["passes"])


def view_export(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx export`: the bundle's document, in short, and what to type next."""
    yield f"{_name_model(document['model'])}: {document['family']}, {document['task']}"
    rows = []
    for variant in document["variants"]:
        worst = max(variant["parity"], key=lambda row: _or_infinite(row["max_abs"]), default=None)
        parity = (
            ("not measured", "") if worst is None else (f"{_number(worst['max_abs'], '.1e')} of scale", _allowed(worst))
        )
        speed = name_latency(variant["latency"]) if variant["latency"] else ""
        changes = name_accuracy(variant["accuracy"]) if variant["accuracy"] else ""
        rows.append((variant["key"], format_bytes(variant["bytes"]), speed, *parity, changes, variant["state"]))
    columns = ("variant", "size", "speed", "largest difference", "allowed", "answers", "state")
    used = [at for at in range(len(columns)) if at in (0, 1, 3, 4, 6) or any(row[at] for row in rows)]
    cells = tuple(tuple(row[at] for at in used) for row in rows)
    yield Table("", tuple(columns[at] for at in used), cells)
    if document["tradeoff"]:
        yield view_tradeoff(document["tradeoff"])
    yield from view_evidence(document)
    yield from view_recommendation(document)
    if document["engines"]:
        made = document["engines"][0]
        yield from view_engines(document["engines"], f"Engines inside, built by {made['engine']} {made['version']}")
    yield f"Bundle: {document['path']}"
    for number, command in enumerate(document["next"]):
        yield Verbatim(f"{'' if number else 'Next:':<8}{command}")


def view_details(document: Mapping[str, Any], files: Mapping[str, int]) -> Iterator[Block]:
    """`bvx export --verbose`: what each pass did, and the files (path -> size in bytes) that were written."""
    yield from _view_passes(document["passes"])
    yield Table("Files", (), tuple((name, format_bytes(size)) for name, size in files.items()))


def view_versions(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx --version`: a line for bvx, for Python, and for each engine."""
    yield f"bvx {document['bvx']}"
    yield f"Python {document['python']}"
    for name, engine in document["engines"].items():
        yield f"{name} {engine['version']}{_name_providers(engine['providers']) if 'providers' in engine else ''}"
    if not document["engines"]:
        yield "no engine: `pip install bvx[cpu]`"


def view_verification(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx verify`: one table per report, and what the bisection found."""
    for report in document["reports"]:
        yield from _view_parity(f"{report['variant']} on {report['engine']}", report["summary"])
        if report["diverged_at"]:
            yield f"The first layer that differs is {report['diverged_at']}."
    for divergence in document["divergences"]:
        yield Table("First operator that diverges", (), tuple((k, _spell(v)) for k, v in divergence.items()))
    if document["passed"]:
        yield "Parity holds."
    else:
        is_foreign = any(report["variant"].endswith(".onnx") for report in document["reports"])
        yield _FOREIGN_FAILED if is_foreign else _FAILED


_FOREIGN_FAILED = (
    "Parity FAILED: this graph does not say what its checkpoint says. `bvx export` makes one of the checkpoint "
    "that does."
)
_FAILED = (
    "Parity FAILED: do not serve this bundle. `bvx verify BUNDLE --against MODEL --bisect` names the first operator "
    "that differs from the checkpoint; `bvx export` makes the bundle anew."
)


def view_doctor(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx doctor`: what there is, what it means, and what to mend."""
    python, cpu, cores = document["python"], document["cpu"], document["cores"]
    yield Table(
        "",
        (),
        (
            ("bvx", document["bvx"]),
            ("Python", f"{python['version']} ({python['executable']})"),
            ("system", document["system"]),
            ("cores", f"{cores['allowed']} allowed of {cores['present']} present"),
            ("memory", _name_memory(document["memory"])),
            ("GPU", _name_gpu(document["gpu"])),
        ),
    )
    engines = [*document["engines"].items()] or [("none", "pip install bvx[cpu]")]
    if document["providers"]:
        engines.append(("providers", ", ".join(document["providers"])))
    yield Table("Engines", (), tuple(engines))
    chosen = document["auto"].items()
    yield Table(
        "What --engine auto takes for a variant for …",
        (),
        tuple((target, one["engine"] or "none", one["why"]) for target, one in chosen),
    )
    extras = document["extras"].items()
    yield Table(
        "Extras",
        (),
        tuple((name, f"missing: {', '.join(faults)}" if faults else "complete") for name, faults in extras),
    )
    yield Table(
        f"Processor: {cpu['name']} ({cpu['architecture']})",
        (),
        tuple((name, "yes" if one["present"] else "no", one["meaning"]) for name, one in cpu["features"].items()),
    )
    chosen = [(one["bundle"], one["variant"], str(one["threads"]), one["engine"]) for one in document["choices"]]
    if chosen:
        yield Table("Engines that were measured", ("bundle", "variant", "threads", "engine"), tuple(chosen))
    if document["environment"]:
        rows = tuple((name, one["value"], one["meaning"]) for name, one in document["environment"].items())
        yield Table("Environment", (), rows)
    if document["problems"]:
        yield Table("To mend", (), tuple((problem,) for problem in document["problems"]))
    if not document["problems"]:
        yield Table("Nothing to mend.", (), ())


def _view_passes(passes: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Block]:
    for key, logs in passes.items():
        rows = tuple((log["name"], str(log["applied"]), _name_refusals(log["refusals"])) for log in logs)
        yield Table(f"Passes ({key})", ("pass", "applied", "left alone"), rows)


def _view_parity(title: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    if not rows:
        yield Table(title, (), (("nothing was compared",),))
        return
    cells = tuple(
        (
            row["output"],
            _number(row["max_abs"], ".1e"),
            _number(row["mean_abs"], ".1e"),
            _number(row["cosine"], ".7f"),
            _number(row["argmax"], ".2%"),
            _name_case(row),
            "passed" if row["passed"] else f"FAILED{_name_allowed(row)}",
        )
        for row in rows
    )
    columns = ("output", "largest", "mean", "cosine", "same argmax", "worst case", "verdict")
    yield Table(f"{title}: {_count(rows)} comparisons", columns, cells)


def _count(rows: Sequence[Mapping[str, Any]]) -> int:
    return sum(int(row["comparisons"]) for row in rows)


def _name_model(model: Mapping[str, Any]) -> str:
    revision = f" at {model['revision']}" if model["revision"] else ""
    return f"{model['id']}{revision}{' (random weights)' if model['random'] else ''}"


def _name_tensor(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['name']} {tensor['dtype']} [{', '.join(map(str, tensor['shape']))}]"


def _name_profile(profile: Mapping[str, Any]) -> str:
    return ":".join("x".join(map(str, profile[name])) for name in ("min", "opt", "max"))


def _name_tokenizer(tokenizer: Mapping[str, Any] | None) -> str:
    if tokenizer is None:
        return "none: feed token ids"
    made = ", a stand-in vocabulary, made because the weights are random" if tokenizer["standin"] else ""
    return f"tokenizer.json, padding with {tokenizer['pad_token']}{made}"


def _name_tools(tools: Mapping[str, str]) -> str:
    return f" ({', '.join(f'{name} {version}' for name, version in tools.items())})" if tools else ""


def _name_place(variant: Mapping[str, Any]) -> str:
    engine, cpu = variant["verified_on"].get("engine"), variant["verified_on"].get("cpu")
    return f", on {', '.join(part for part in (engine, cpu) if part)}" if engine or cpu else ""


def _name_case(row: Mapping[str, Any]) -> str:
    return f"{row['case']} ({row['batch']}x{row['length']})" if row["case"] is not None else ""


def _name_allowed(row: Mapping[str, Any]) -> str:
    return f" (allowed {_allowed(row)})" if _allowed(row) else ""


def _allowed(row: Mapping[str, Any]) -> str:
    allowed = row["allowed"]
    return f"{allowed['max_abs']:.2g}" if isinstance(allowed, dict) and "max_abs" in allowed else ""


def _name_providers(providers: Sequence[str] | None) -> str:
    return " (broken: it cannot be imported)" if providers is None else f" ({', '.join(providers)})"


def _name_refusals(refusals: Mapping[str, int]) -> str:
    return "; ".join(f"{count} ({reason})" for reason, count in refusals.items())


def _name_memory(memory: Mapping[str, int | None]) -> str:
    limit = f", limited to {format_bytes(memory['limit'])} here" if memory["limit"] is not None else ""
    available = f", {format_bytes(memory['available'])} available" if memory["available"] is not None else ""
    return f"{format_bytes(memory['total'])}{available}{limit}"


def _name_gpu(gpu: Mapping[str, Any]) -> str:
    devices = ", ".join(f"{one['name']} ({one['memory']})" for one in gpu["devices"])
    if gpu["driver"] is None:
        return "none that NVIDIA's driver knows"
    return f"{devices or 'no device listed'}, driver {gpu['driver']}"


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None else format(value, form)


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _spell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
