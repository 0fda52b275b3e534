"""The texts that a calibration runs on: a seeded sample of a file, of standard input, or of what comes with bvx.

How `--calibrate` spells it:

    mail.txt                    one text on each line
    mail.jsonl                  JSON Lines: a string, or an object with "text" and perhaps "pair"
    mail.jsonl:body             … or with the text under another name; `:question,context` names a pair
    mail.csv, mail.tsv          a table whose first row names its columns, one of them "text"
    mail.csv:body               … or with the text in another column; `:sentence1,sentence2` names a pair
    mail.csv:1,2                columns by number, from 1 on: the table has no row of names
    -                           standard input: one text on each line, or JSON Lines where the first line is an object
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..runtime.errors import CalibrationError
from .entries import Entry, entries_of_json, entries_of_lines, entries_of_table
from .ranges import Corpus
from .records import LONGEST_LINE
from .texts import builtin_texts

__all__ = ["SAMPLES", "Sample", "open_file", "read_sample"]

SAMPLES = 256
"""How many texts are drawn unless it is said."""

_FEW = 32
"""Below this many texts a range is as much chance as observation."""

_BUILTIN = (
    "No texts were given to calibrate on, so the ranges come from the {count} sentences that come with bvx. What only "
    "your own texts do to the model is clipped, and int8 loses more accuracy than it has to: give a few hundred of "
    "them with --calibrate."
)


@dataclass(frozen=True)
class Sample:
    """Texts drawn with `seed` from the `lines` usable ones of `source`, in the order in which they stood there.

    An entry is (text,) or (text, pair). `warnings` are sentences for whoever asked for the calibration.
    """

    source: str
    lines: int
    seed: int
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of every text and pair in order, each followed by a NUL byte."""
        found = hashlib.sha256()
        for entry in self.entries:
            for text in entry:
                found.update(text.encode() + b"\0")
        return found.hexdigest()

    def describe(self, tokens: int) -> Corpus:
        """What the ranges say about where they came from; `tokens` is how many the model read in all."""
        return Corpus(self.source, self.lines, len(self.entries), tokens, self.seed, self.digest)


def read_sample(
    spec: str | None,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    stdin: BinaryIO | None = None,
    pairs: bool = False,
) -> Sample:
    """Draw at most `samples` texts from what `spec` names (see above); None for the sentences that come with bvx.

    A file of any size is read once, and only the sample is held. `stdin` is what "-" reads. With `pairs` the built-in
    sentences come in pairs, for a task that takes two. Raises CalibrationError for what cannot be read or has no text.
    """
    if samples < 1:
        raise CalibrationError(f"{samples} samples were asked for.", "Ask for at least one.")
    if spec is None:
        return _builtin(samples, seed, pairs)
    if spec == "-" or spec.startswith("-:"):
        if stdin is None:
            raise CalibrationError("There is no standard input to read texts from.", "Give a file.")
        return _draw(_read_stdin(stdin, spec[2:]), "stdin", samples, seed)
    path, columns = _split_spec(spec)
    with open_file(path) as stream:
        return _draw(_read_file(stream, path.name, columns), path.name, samples, seed)


def _builtin(samples: int, seed: int, pairs: bool) -> Sample:
    texts = builtin_texts()
    entries: Iterable[Entry] = zip(texts, texts[1:] + texts[:1], strict=True) if pairs else ((text,) for text in texts)
    drawn, lines = _reservoir(entries, samples, seed)
    return Sample("builtin", lines, seed, drawn, (_BUILTIN.format(count=len(drawn)),))


def _draw(entries: Iterator[Entry], name: str, samples: int, seed: int) -> Sample:
    drawn, lines = _reservoir(entries, samples, seed)
    if not drawn:
        raise CalibrationError(f"{name} has no text to calibrate on.", "Give a file with a text on each line.")
    warnings: tuple[str, ...] = ()
    if len(drawn) < min(_FEW, samples):
        texts = "one text" if len(drawn) == 1 else f"{len(drawn)} texts"
        warnings = (f"{name} has only {texts}: ranges from so few are chance. Give a few hundred.",)
    return Sample(name, lines, seed, drawn, warnings)


def _reservoir(entries: Iterable[Entry], samples: int, seed: int) -> tuple[tuple[Entry, ...], int]:
    """`samples` of the entries, each as likely as any other, in their order, and how many there were.

    Vitter, "Random Sampling with a Reservoir", ACM TOMS 11 (1985), algorithm R.
    """
    draw = random.Random(seed)
    kept: list[tuple[int, Entry]] = []
    count = 0
    for entry in entries:
        count += 1
        if len(kept) < samples:
            kept.append((count, entry))
        elif (place := draw.randrange(count)) < samples:
            kept[place] = (count, entry)
    return tuple(entry for _, entry in sorted(kept)), count


def _split_spec(spec: str) -> tuple[Path, tuple[str, ...]]:
    """The file and the columns that are named after it. A file whose own name has a colon is found as it is."""
    head, colon, tail = spec.rpartition(":")
    if not colon or not head or Path(spec).exists():
        return Path(spec), ()
    return Path(head), _split_columns(tail, spec)


def _split_columns(text: str, spec: str) -> tuple[str, ...]:
    columns = tuple(name.strip() for name in text.split(","))
    if len(columns) > 2 or not all(columns):
        raise CalibrationError(
            f"{spec!r} names {len(columns)} columns, {text!r}; wanted one for the text, or two for a pair.",
            "Write file.csv:text or file.csv:sentence1,sentence2.",
        )
    return columns


def open_file(path: Path) -> BinaryIO:
    """The file, for reading. Raises CalibrationError when there is none, or it cannot be read."""
    if path.is_dir():
        raise CalibrationError(f"{path} is a folder; wanted a file of texts.", "Name one of its files.")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise CalibrationError(f"There is no file {path}.", "Give a file with a text on each line.") from error
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read ({error.strerror}).", "Give a file that can.") from error


def _read_file(stream: BinaryIO, name: str, columns: tuple[str, ...]) -> Iterator[Entry]:
    suffix = Path(name).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return entries_of_table(stream, name, columns)
    if suffix in (".jsonl", ".ndjson"):
        return entries_of_json(stream, name, columns)
    if suffix == ".json":
        raise CalibrationError(f"{name} is one JSON document.", "Write JSON Lines, a text on each, into a .jsonl file.")
    if columns:
        raise CalibrationError(
            f"{name} has no columns to choose {','.join(columns)!r} from.", "Name it .csv, .tsv or .jsonl if it has."
        )
    return entries_of_lines(stream, name)


def _read_stdin(stream: BinaryIO, columns: str) -> Iterator[Entry]:
    # The first line says what the rest is, so it has to be read twice.
    first = stream.readline(LONGEST_LINE + 1)
    whole: BinaryIO = io.BufferedReader(_Rejoined(first, stream))
    if columns or first.lstrip().startswith(b"{"):
        return entries_of_json(whole, "stdin", _split_columns(columns, f"-:{columns}") if columns else ())
    return entries_of_lines(whole, "stdin")


class _Rejoined(io.RawIOBase):
    """`first`, and then what is left in `rest`."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = self._first[: len(buffer)] or self._rest.read(len(buffer))
        self._first = self._first[len(found) :]
        buffer[: len(found)] = found
        return len(found)
