"""Which engine runs a variant fastest on this machine, where several can: measured once, kept in the machine's cache.

`bvx build BUNDLE --engine cpu` measures and stores; `bvx.load(engine="auto")` looks here before it goes by the rule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .bundle import Bundle
from .cache import bundle_key, cache_folder, write_in_one_step
from .engines import ENGINES
from .errors import BundleError
from .json_reader import JsonValue, parse_json
from .machine import describe
from .manifest import Variant
from .manifest_json import to_plain

__all__ = [
    "Choice",
    "choose_measured",
    "engines_here",
    "find_choices",
    "list_choices",
    "name_processor",
    "store_choices",
]

_MOST = 2**20
"""Bytes of a file of choices; a dozen choices take 5,000."""


@dataclass(frozen=True)
class Choice:
    """What was found for one variant on `threads` threads: the `engine` that answers soonest.

    `versions` are those of every engine that was measured, and `processor` is what they ran on: where one of them is
    another today, the choice counts no more. `milliseconds` are medians: engine -> shape, as 1x128 -> time.
    """

    bundle: str
    variant: str
    threads: int
    engine: str
    processor: str
    versions: Mapping[str, str]
    milliseconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def choose_measured(bundle: Bundle, variant: Variant, threads: int) -> str | None:
    """The engine that was measured to be the fastest for `variant` here, on as many threads; None where none was."""
    for choice in find_choices(bundle):
        if (choice.variant, choice.threads) == (variant.key, threads):
            return choice.engine
    return None


def find_choices(bundle: Bundle) -> tuple[Choice, ...]:
    """What was measured for `bundle` on this very processor, with the engines that are installed now."""
    path = _file(bundle)
    if not path.is_file():
        return ()
    engines, processor = engines_here(), name_processor()
    return tuple(one for one in _read(path) if (dict(one.versions), one.processor) == (engines, processor))


def list_choices() -> tuple[Choice, ...]:
    """Everything that this machine's cache holds, whether or not it still counts."""
    return tuple(choice for path in sorted(_folder().glob("*.json")) for choice in _read(path))


def store_choices(bundle: Bundle, choices: Sequence[Choice]) -> Path:
    """Keep `choices`; those of other variants and threads that still count stay. The file's path."""
    new = {(one.variant, one.threads) for one in choices}
    kept = [one for one in find_choices(bundle) if (one.variant, one.threads) not in new]
    path = _file(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_in_one_step(path, json.dumps(to_plain([*kept, *choices]), indent=1).encode())
    return path


def engines_here(target: str = "cpu") -> dict[str, str]:
    """The engines for `target` that are installed, and their versions, without importing any."""
    from importlib import metadata

    found = {}
    for name, entry in ENGINES.items():
        if target in entry.targets and entry.is_installed:
            found[name] = ""
            for distribution in (entry.library, f"{entry.library}-gpu"):
                with suppress(metadata.PackageNotFoundError):
                    found[name] = metadata.version(distribution)
                    break
    return found


def name_processor() -> str:
    """The processor and its features: a cache may travel with a home folder to another machine."""
    here = describe()
    return f"{here['cpu']} ({here['features']})"


def _folder() -> Path:
    return cache_folder() / "choices"


def _file(bundle: Bundle) -> Path:
    return _folder() / f"{bundle_key(bundle)}.json"


def _read(path: Path) -> tuple[Choice, ...]:
    """What is in the file; nothing where it is damaged, as if nothing had been measured."""
    with suppress(BundleError, OSError, UnicodeDecodeError):
        if path.stat().st_size <= _MOST:
            return tuple(map(_read_choice, parse_json(path.read_text(encoding="utf-8"), path.name).items()))
    return ()


def _read_choice(value: JsonValue) -> Choice:
    return Choice(
        bundle=value.get("bundle").text(),
        variant=value.get("variant").text(),
        threads=value.get("threads").integer(least=1),
        engine=value.get("engine").one_of(*ENGINES),
        processor=value.get("processor").text(),
        versions=value.get("versions").texts(),
        milliseconds={
            engine: {shape: time.number() for shape, time in shapes.fields().items()}
            for engine, shapes in value.get("milliseconds").fields().items()
        },
    )
