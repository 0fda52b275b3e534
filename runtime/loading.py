"""`load`: from a bundle's folder to a model that serves."""

from __future__ import annotations

from pathlib import Path

from .bundle import Bundle
from .encoder import Encoder
from .engines import Engine, find_engine, open_engine
from .errors import BundleError, ParityFailed, PlanError
from .heads import open_head
from .machine import allowed_cores
from .manifest import Manifest, Variant
from .tokenizer import Tokenizer

__all__ = ["load"]


def load(
    path: str | Path,
    *,
    precision: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    spin: bool = False,
    check_hashes: bool = True,
) -> Encoder:
    """Open the bundle in the folder `path` and load one of its variants into an engine.

    `precision` is one that the bundle has, None its first. `engine` is "auto" or an engine's name. `threads` are None
    for as many as the container may use; `spin` lets them wait busily, which takes whole cores and answers sooner.
    `check_hashes=False` leaves out hashing large files, which may dominate a cold start.

    Raises BundleError when the bundle is damaged or has no such precision, EngineMismatch when no installed engine
    serves it, and ParityFailed when a variant that could not be verified where it was made fails here.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise PlanError(f"threads is {threads!r}.", "Give a whole number from 1 on, or None for all allowed cores.")
    bundle = Bundle.open(path, check_hashes=check_hashes)
    manifest = bundle.manifest
    usable = [v.target for v in manifest.variants if v.state != "failed" and precision in (None, v.precision)]
    # Without a usable variant, the bundle says best what it has.
    name, target = find_engine(engine, usable or [bundle.variant(precision).target])
    variant = bundle.variant(precision, target)
    tokenizer = Tokenizer(bundle.path("tokenizer.json"), manifest.max_length) if manifest.tokenizer else None
    head = open_head(manifest.task, manifest.head, tokenizer) if tokenizer else None
    session = open_engine(name, bundle.path(variant.file), variant, threads or allowed_cores(), spin)
    _check_names(session, manifest, variant)
    model = Encoder(bundle, variant, session, tokenizer, head)
    if variant.state != "verified":
        _verify_first(model)
    return model


def _check_names(session: Engine, manifest: Manifest, variant: Variant) -> None:
    for kind, graph, said in (
        ("inputs", session.inputs, manifest.inputs),
        ("outputs", session.outputs, manifest.outputs),
    ):
        names = {spec.name for spec in said}
        if names != set(graph):
            session.close()
            raise BundleError(
                f"{variant.file} has the {kind} {', '.join(graph)}; bvx.json says {', '.join(sorted(names))}.",
                "Export the bundle again.",
            )


def _verify_first(model: Encoder) -> None:
    """Verify a variant that could not run where it was made, before it answers anything."""
    report = model.verify()
    if not report:
        model.close()
        failed = sum(not row.passed for row in report.rows)
        raise ParityFailed(
            f"{model.variant.key} was never verified, and on this machine {failed} of {len(report.rows)} comparisons "
            "with PyTorch fail.",
            "Load another precision, or export the bundle again.",
        )
