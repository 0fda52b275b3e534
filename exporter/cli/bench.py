"""`bvx bench`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ...runtime.errors import PlanError
from ..bench.plan import OTHER_TOOLS
from ..documents import Interrupted
from . import completion
from .options import AsJson, Quiet, Strict, Verbose
from .shell import PARITY_FAILED, Shell, Work

__all__ = ["bench", "name_json_file"]


def name_json_file(words: Sequence[str]) -> list[str]:
    """`bench … --json report.json` names a file; without a name that ends in .json, --json is what it is elsewhere."""
    found: list[str] = []
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        if "bench" in words[:number] and before == "--json" and word.endswith(".json"):
            found[-1] = "--json-file"
        found.append(word)
    return found


def bench(
    bundles: Annotated[list[str] | None, Argument(metavar="BUNDLE…", help="One bundle or several.")] = None,
    engine: Annotated[
        str,
        Option(metavar="NAME,…", autocompletion=completion.list_engines, help="The engines that run them."),
    ] = "auto",
    strict: Strict = False,
    precision: Annotated[
        str | None,
        Option(
            metavar="NAME,…",
            autocompletion=completion.list_precisions,
            help="The precisions.  [default: all that a bundle has]",
        ),
    ] = None,
    shapes: Annotated[str, Option(metavar="BxL,…", help="Batch and length in tokens.")] = "1x16,1x128,8x128",
    threads: Annotated[str, Option(metavar="N,…", help="Threads of each engine.")] = "1",
    against: Annotated[
        str | None, Option(metavar="NAME,…", help=f"Measure beside them: {', '.join(OTHER_TOOLS)}.")
    ] = None,
    peers: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="The environment with the other tools.  [default: BVX_PEERS, else .peers]"),
    ] = None,
    work_folder: Annotated[
        Path | None,
        Option("--work", metavar="FOLDER", help="Keep the other tools' files there, and use those that are there."),
    ] = None,
    baseline: Annotated[
        str | None, Option(metavar="NAME", help="What ratios refer to.  [default: the first other tool]")
    ] = None,
    texts: Annotated[Path | None, Option(metavar="FILE", help="Measure these texts too, one a line.")] = None,
    concurrency: Annotated[
        str | None, Option(metavar="N,…", help="Measure so many calls at once, at the first shape.")
    ] = None,
    rounds: Annotated[int, Option(help="Turns of each engine at each shape, at most.")] = 30,
    minutes: Annotated[
        float, Option(help="Choose the turns so that the measuring lasts about so long; 0: as long as it takes.")
    ] = 0.0,
    pin: Annotated[bool, Option("--pin", help="Bind each engine to as many cores as it has threads.")] = False,
    out: Annotated[Path | None, Option(metavar="FILE", help="Write the report, one HTML page.")] = None,
    json_file: Annotated[
        Path | None, Option("--json-file", metavar="FILE", help="Write the document; --json FILE.json is the same.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        Option(metavar="OLD NEW", help="Measure nothing: say what got slower between two documents."),
    ] = None,
    fail_above: Annotated[
        str, Option(metavar="SHARE", help="With --compare: how much slower is too slow; exit code 3.")
    ] = "5%",
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> Work:
    """Measure bundles beside each other and beside other tools, each in a process of its own, in turns.

    Ctrl-C writes what was measured until then, marked incomplete.
    """

    def work(shell: Shell) -> int:
        if compare is not None:
            if bundles:
                raise PlanError("--compare measures nothing.", "Leave the bundles out.")
            return _compare(shell, compare, fail_above)
        from ..bench.document import describe
        from ..bench.measure import measure
        from ..bench.plan import BenchPlan, read_numbers, read_shapes, read_texts
        from ..bench.views import view_bench

        plan = BenchPlan(
            bundles=tuple(bundles or ()),
            engines=_split(engine),
            strict=strict,
            precisions=_split(precision),
            shapes=read_shapes(shapes),
            threads=read_numbers(threads, "--threads"),
            against=_split(against),
            texts=read_texts(texts) if texts else (),
            concurrency=read_numbers(concurrency or "", "--concurrency"),
            rounds=rounds,
            minutes=minutes,
            baseline=baseline or "",
            pin=pin,
            peers=str(peers) if peers else None,
            work=str(work_folder) if work_folder else None,
        )
        if out:
            from ..bench.page import check_libraries

            check_libraries()
        with shell.watching(remaining=True):
            document = describe(measure(plan, shell))
        if json_file:
            from ..documents import to_json

            json_file.write_text(to_json(document) + "\n", encoding="utf-8")
        if out:
            from ..bench.page import write_page

            write_page(document, out)
        written = [str(path) for path in (out, json_file) if path]
        shell.answer(document, view_bench(document, written))
        if not document["complete"]:
            return Interrupted.exit_code
        return 0

    return work


def _compare(shell: Shell, paths: tuple[Path, Path], fail_above: str) -> int:
    from ..bench.compare import compare_documents, read_share
    from ..bench.document import read_document
    from ..bench.views import describe_changes, view_changes

    share = read_share(fail_above)
    old, new = map(read_document, paths)
    changes, remarks = compare_documents(old, new, share)
    document = describe_changes(changes, remarks, share)
    shell.answer(document, view_changes(document))
    return 0 if document["passed"] else PARITY_FAILED


def _split(words: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in (words or "").split(",") if word.strip()))
