"""Texts to token ids, by the frozen tokenizer.json alone.

The shared `tokenizers.Tokenizer` is never changed after loading: padding is done in NumPy (feeds.py), and truncation
by a second instance, so that any number of threads may tokenise at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, InputError
from .forks import keep_forks_quiet
from .machine import allowed_cores
from .texts import check_texts, name_text
from .tokenizer_steps import check_tokenizer
from .windows import Windows

if TYPE_CHECKING:
    import tokenizers

__all__ = ["Origin", "Tokenizer", "Tokens"]

_LONGEST_FILE = 32 * 2**20
"""No vocabulary in use comes near (XLM-R's tokenizer.json has 17 MB); parsing takes several times the file's size."""

_CHUNK_TEXTS, _CHUNK_CHARACTERS = 1024, 1_000_000
"""What is tokenised at once: the library's own results take some hundred bytes per token until they are compacted."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where each token comes from.

    `offsets` are int64 [tokens, 2], the characters from and up to which it stands in its text; `texts` are int64
    [tokens], 0 for a token of the text, 1 for one of its pair, -1 for a special token; `words` are int64 [tokens],
    the number of its word in its text, -1 for a special token.
    """

    offsets: NDArray[np.int64]
    texts: NDArray[np.int64]
    words: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tokens:
    """One text, or pair of texts, as the model reads it, special tokens included.

    `ids` and `type_ids` are int64 [tokens]. `origin` is there where it was asked for.
    """

    ids: NDArray[np.int64]
    type_ids: NDArray[np.int64]
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: NDArray[np.int64]) -> Tokens:
        """Copies of the tokens at these places."""
        origin = self.origin
        if origin is not None:
            origin = Origin(origin.offsets[places], origin.texts[places], origin.words[places])
        return Tokens(self.ids[places], self.type_ids[places], origin)


class Tokenizer:
    """The tokenizer.json at `path`, for a model that takes at most `max_length` tokens.

    It takes at most `threads` of the cores, None for all. Raises BundleError when the file is not a tokenizer that the
    tokenizers library can use, or one that would make much of little.
    """

    def __init__(self, path: Path, max_length: int, threads: int | None = None) -> None:
        self.path = path
        self.max_length = max_length
        self.threads = threads
        self._whole = _read(path)
        self._cutting: tokenizers.Tokenizer | None = None
        self._making = Lock()
        keep_forks_quiet()

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        truncate: bool = False,
        with_origin: bool = False,
    ) -> list[Tokens]:
        """The tokens of every text (or of texts[i] and pairs[i] together), in order.

        `with_origin` says as well where each token comes from, which takes longer. `truncate` cuts a text that is too
        long at its end, of a pair the longer one first. Raises InputError for what is not text, for a text of more
        than a million characters, for one without any token, and without `truncate` for one longer than `max_length`.
        """
        self._check_inputs(texts, pairs)
        found: list[Tokens] = []
        for chunk in _chunks(texts, pairs):
            some = self._encode_chunk(texts[chunk], pairs and pairs[chunk], truncate, with_origin)
            self._check_lengths(some, chunk.start, len(texts))
            found += some
        return found

    def encode_windows(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        stride: int,
        max_first: int | None = None,
        names: tuple[str, str] = ("text", "pair"),
    ) -> list[list[Tokens]]:
        """The windows of every text, or of every pair beside its whole text, in order; each with its origin.

        They are those of transformers' fast tokenizers with truncation of the only text, or of the second, and
        overflowing tokens: at most `max_length` tokens, None for the model's, special tokens included, of which
        `stride` are in the window before too. Of a text with a pair `max_first` tokens are kept, None for all. Offsets
        and words count in the whole text. Messages call a text and a pair `names`. Raises InputError as `encode` does,
        where a window has no room for its text, and where there would be too many.
        """
        windows = Windows(self.max_length if max_length is None else max_length, stride, max_first)
        if windows.max_length > self.max_length:
            raise InputError(f"max_length is {max_length}; this model takes {self.max_length}.", "Give no more.")
        self._check_inputs(texts, pairs, names)
        found: list[list[Tokens]] = []
        for chunk in _chunks(texts, pairs):
            some = self._encode_chunk(texts[chunk], pairs and pairs[chunk], truncate=False, with_origin=True)
            for number, tokens in enumerate(some, chunk.start):
                _check_some(tokens, name_text(names[0], number, len(texts)))
                called = [name_text(name, number, len(texts), begins=False) for name in names]
                found.append(windows.cut(tokens, called if pairs is not None else called[:1]))
        return found

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text that `ids` stand for."""
        with self._guarded():
            return self._whole.decode(ids, skip_special_tokens=skip_special_tokens)

    def find(self, token: str) -> int | None:
        """The id of the token spelled exactly `token`, if there is one. Raises InputError for what is not text."""
        check_texts([token], "token")
        with self._guarded():
            return self._whole.token_to_id(token)

    def split(self, text: str) -> list[int]:
        """The ids of `text` alone, without special tokens around it. Raises InputError for what is not text."""
        check_texts([text], "text")
        with self._guarded():
            return list(self._whole.encode(text, add_special_tokens=False).ids)

    def tokens(self, ids: Sequence[int]) -> list[str | None]:
        """How the vocabulary spells each id."""
        with self._guarded():
            return [self._whole.id_to_token(number) for number in ids]

    def join(self, tokens: Sequence[str]) -> str:
        """The text that tokens stand for, as the vocabulary spells them ("##s") or any other text."""
        with self._guarded():
            decoder = self._whole.decoder
            return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))

    @property
    def subword_prefix(self) -> str:
        """What the vocabulary writes before a token that continues a word ("##"); empty where it marks none."""
        return getattr(self._whole.model, "continuing_subword_prefix", None) or ""

    def _check_inputs(
        self, texts: Sequence[str], pairs: Sequence[str] | None, names: tuple[str, str] = ("text", "pair")
    ) -> None:
        check_texts(texts, names[0])
        if pairs is not None:
            check_texts(pairs, names[1])
            if len(pairs) != len(texts):
                first, second = names
                raise InputError(
                    f"There are {len(texts)} {first}s and {len(pairs)} {second}s.",
                    f"Give one {second} to each {first}.",
                )

    def _encode_chunk(
        self, texts: Sequence[str], pairs: Sequence[str] | None, truncate: bool, with_origin: bool
    ) -> list[Tokens]:
        library = self._truncating() if truncate else self._whole
        inputs = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        # The library's pool of threads cannot be told its size; it uses at most one for each text.
        step = len(inputs) if self.threads is None or self.threads >= allowed_cores() else self.threads
        found: list[Tokens] = []
        for start in range(0, len(inputs), step):
            with self._guarded():
                # Even for one text: unlike encode() it lets other Python threads run meanwhile.
                encode = library.encode_batch if with_origin else library.encode_batch_fast
                found += [_tokens(one, with_origin) for one in encode(inputs[start : start + step])]
        return found

    def _truncating(self) -> tokenizers.Tokenizer:
        """A second instance that truncates, made when it is first asked for."""
        with self._making:
            if self._cutting is None:
                cutting = _read(self.path)
                with self._guarded():
                    cutting.enable_truncation(self.max_length, strategy="longest_first")
                self._cutting = cutting
            return self._cutting

    def _check_lengths(self, found: Sequence[Tokens], first: int, count: int) -> None:
        """`found` are the tokens of texts[first:], of `count` texts in all."""
        for number, tokens in enumerate(found, first):
            name = name_text("text", number, count)
            if len(tokens) > self.max_length:
                raise InputError(
                    f"{name} is {len(tokens)} tokens long; this model takes at most {self.max_length}, special tokens "
                    "included.",
                    "Shorten it, or have it cut with truncate=True.",
                )
            _check_some(tokens, name)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with _guard(f"{self.path} failed on this text"):
            yield


def _tokens(one: tokenizers.Encoding, with_origin: bool) -> Tokens:
    ids, type_ids = np.array(one.ids, np.int64), np.array(one.type_ids, np.int64)
    if not with_origin:
        return Tokens(ids, type_ids)
    texts, words = (
        np.array([-1 if number is None else number for number in numbers], np.int64)
        for numbers in (one.sequence_ids, one.word_ids)
    )
    return Tokens(ids, type_ids, Origin(np.array(one.offsets, np.int64).reshape(-1, 2), texts, words))


def _check_some(tokens: Tokens, name: str) -> None:
    if not len(tokens):
        raise InputError(f"{name} has no tokens.", "Leave it out.")


def _chunks(texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[slice]:
    """Slices of the texts that are tokenised at once; one text may have more characters than a chunk."""
    start = characters = 0
    for number, text in enumerate(texts):
        more = len(text) + (len(pairs[number]) if pairs is not None else 0)
        if number > start and (number - start == _CHUNK_TEXTS or characters + more > _CHUNK_CHARACTERS):
            yield slice(start, number)
            start, characters = number, 0
        characters += more
    if texts:
        yield slice(start, len(texts))


def _read(path: Path) -> tokenizers.Tokenizer:
    import tokenizers

    again = "Copy or download the bundle again, or export it again with `bvx export`."
    try:
        size = path.stat().st_size
        if size > _LONGEST_FILE:
            raise BundleError(f"{path} has {size:,} bytes; no vocabulary needs more than {_LONGEST_FILE:,}.", again)
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error}).", again) from error
    try:
        check_tokenizer(content)
    except BundleError as error:
        raise BundleError(f"{path} is not a tokenizer.json that bvx can use: {error.cause}", error.next_step) from error
    with _guard(f"{path} is not a tokenizer.json that tokenizers {tokenizers.__version__} can read"):
        library = tokenizers.Tokenizer.from_buffer(content)
        library.no_padding()
        library.no_truncation()
        return library


@contextmanager
def _guard(what: str) -> Iterator[None]:
    """Turn what the Rust side raises into a BundleError: its panics are no Exception, and would end a service."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        again = "Export the bundle again with `bvx export`, or upgrade tokenizers (`pip install --upgrade tokenizers`)."
        raise BundleError(f"{what} ({str(error)[:200]}).", again) from error
