"""`load`: from a bundle's folder to a model that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from .agreement import check_agreement
from .bundle import Bundle
from .choices import choose_measured
from .encoder import Encoder
from .engines import Candidate, Engine, find_engine, list_candidates, open_engine, settle
from .errors import BvxError, EngineMismatch, ParityFailed, PlanError
from .heads import find_predictor, open_head
from .machine import allowed_cores, describe
from .manifest import Variant
from .tokenizer import Tokenizer

__all__ = ["load"]

_MOST_THREADS = 1024
"""More than any machine has cores for; the engine would fail to make them, or take the memory of each stack."""


def load(
    path: str | Path,
    *,
    precision: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    spin: bool = False,
    check_hashes: bool = True,
    strict: bool = False,
) -> Encoder:
    """Open the bundle in the folder `path` and load one of its variants into an engine.

    What comes back is of the task's own class, such as `bvx.TextClassifier`; `bvx.TextClassifier.load` is the same for
    bundles of that task alone, and tells a type checker which class it is.

    `precision` is one that the bundle has, None its first. `engine` is an engine's name, or "auto": a bundle that was
    made for a GPU is served by one where GPU, driver, engine and plan are there, and else by the processor with a
    FallbackWarning that names both, which `strict` makes an EngineMismatch; on the processor it is what `bvx build
    --engine cpu` measured to be the fastest on this machine, else the first of `bvx.runtime.engines.ENGINES` that is
    installed. `threads` are None for as many as the container may use; `spin` lets them wait busily, which takes whole
    cores and answers sooner. The weights of other variants are not read. `check_hashes=False` leaves out hashing large
    files altogether, which may dominate a cold start.

    A process that forks loads in the child, not before: the engine's threads do not survive a fork, so that a model
    loaded before answers nothing in the child (on onnxruntime with `threads=1` it does). Such a model may be closed or
    dropped there; its memory stays. onnxruntime itself, once imported, may stop a forked child from ending by
    `sys.exit`: end it with `os._exit`, as multiprocessing does.

    Raises BundleError when the bundle is damaged, contradicts itself or has no such precision, EngineMismatch when no
    installed engine serves it, and ParityFailed when a variant that could not be verified where it was made fails here.
    """
    if threads is not None and (type(threads) is not int or not 1 <= threads <= _MOST_THREADS):
        raise PlanError(
            f"threads is {threads!r:.40}.",
            f"Give a whole number from 1 to {_MOST_THREADS}, or None for all allowed cores.",
        )
    bundle = Bundle.open(path, check_hashes=False)
    manifest = bundle.manifest
    usable = [v.target for v in manifest.variants if v.state != "failed" and precision in (None, v.precision)]
    if not usable:
        bundle.variant(precision)  # Raises: the bundle says best what it has.
    # A wrong name is refused before anything large is read.
    named = None if engine == "auto" else find_engine(engine, usable)
    cores = threads or allowed_cores()

    def open_one(name: str, target: str) -> tuple[Variant, Engine]:
        variant = bundle.variant(precision, target)
        if check_hashes:
            bundle.check_weights(variant.file)
        if named is None and target == "cpu":
            name = choose_measured(bundle, variant, cores) or name
        return variant, open_engine(name, bundle.path(variant.file), variant, cores, spin)

    tokenizer = Tokenizer(bundle.path("tokenizer.json"), manifest.max_length, cores) if manifest.tokenizer else None
    head = open_head(manifest.task, manifest.head, tokenizer) if tokenizer else None
    variant, session = _open_best(usable, open_one, strict) if named is None else open_one(*named)
    try:
        check_agreement(bundle, variant, session, head)
    except BvxError:
        session.close()
        raise
    model = find_predictor(manifest.task)(bundle, variant, session, tokenizer, head)
    if variant.state != "verified":
        _verify_first(model, "was never verified", "Load another precision, or export the bundle again.")
    elif _may_saturate(variant):
        _verify_first(
            model,
            "was verified on a processor with VNNI, which this one does not have",
            "Export it with --reduce-range for such processors, or load another precision.",
        )
    return model


def _open_best(
    targets: Sequence[str], open_one: Callable[[str, str], tuple[Variant, Engine]], strict: bool
) -> tuple[Variant, Engine]:
    """What `open_one` makes of the first engine that can serve one of `targets`. See `settle` for what is said."""
    passed: list[Candidate] = []
    tried: list[EngineMismatch] = []
    for choice in list_candidates(targets):
        if choice.obstacle is not None:
            passed.append(choice)
            continue
        if strict:
            settle(choice, passed, strict)
        try:
            opened = open_one(choice.engine, choice.target)
        except EngineMismatch as error:
            if choice.target == "cpu":
                raise
            tried.append(error)
            passed.append(replace(choice, obstacle=error))
            continue
        settle(choice, passed, strict)
        return opened
    if tried:
        raise tried[0]
    return open_one(*find_engine("auto", targets))  # Whose words say what is missing.


def _may_saturate(variant: Variant) -> bool:
    """Whether int8 products that were exact where they were verified may overflow on this processor.

    x86 before VNNI adds two products of uint8 and int8 in 16 bits (vpmaddubsw): too few for weights beyond -64..64.
    """
    if variant.reduced or variant.target != "cpu" or not variant.precision.startswith("int8"):
        return False
    here = describe()
    features = here["features"].split()
    is_old = "x86_64" in here["system"] and "vnni" not in features
    return is_old and "vnni" in variant.verified_on.get("features", "").split()


def _verify_first(model: Encoder, what: str, step: str) -> None:
    """Verify a variant that has not been proven on a machine like this, before it answers anything."""
    report = model.verify()
    if not report:
        model.close()
        failed = sum(not row.passed for row in report.rows)
        raise ParityFailed(
            f"{model.variant.key} {what}, and on this machine {failed} of {len(report.rows)} comparisons with PyTorch "
            "fail.",
            step,
        )
