"""The machine's own cache: what was built here for a sealed bundle, which itself is never changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .bundle import MANIFEST, Bundle
from .errors import BundleError
from .json_reader import parse_json
from .manifest import EngineFile
from .manifest_json import read_engine, to_plain

__all__ = [
    "bundle_key",
    "cache_folder",
    "engine_folder",
    "find_engines",
    "store_engine",
    "timing_cache",
    "write_in_one_step",
]


def cache_folder() -> Path:
    """Where bvx keeps what it made on this machine: BVX_CACHE, or `bvx` in the user's cache folder (XDG)."""
    own = os.environ.get("BVX_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bvx"


def bundle_key(bundle: Bundle) -> str:
    """What `bundle` is called in the cache: the digest of its bvx.json, which has every file's own."""
    return hashlib.sha256((bundle.root / MANIFEST).read_bytes()).hexdigest()[:32]


def engine_folder(bundle: Bundle) -> Path:
    """The folder for engines of `bundle`."""
    return cache_folder() / "engines" / bundle_key(bundle)


def timing_cache(engine: str, version: str, gpu: str) -> Path:
    """The file for the builder's timings, which hold for one engine, version and GPU."""
    path = cache_folder() / "timing" / f"{engine}-{version}-{gpu}.cache"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def store_engine(bundle: Bundle, engine: EngineFile, data: bytes) -> Path:
    """Put a plan and what there is to know of it into the cache, each in one step; the plan's path."""
    folder = engine_folder(bundle)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(engine.file).name
    write_in_one_step(path, data)
    write_in_one_step(
        path.with_suffix(".json"), json.dumps(to_plain(replace(engine, file=path.name)), indent=1).encode()
    )
    return path


def find_engines(bundle: Bundle) -> Iterator[tuple[EngineFile, Path]]:
    """Every engine for `bundle` on this machine: those inside it, then the cache's. Damaged ones are left out."""
    for engine in bundle.manifest.engines:
        yield engine, bundle.path(engine.file)
    folder = engine_folder(bundle)
    for record in sorted(folder.glob("*.json")):
        with suppress(BundleError, OSError, UnicodeDecodeError):
            engine = read_engine(parse_json(record.read_text(encoding="utf-8"), record.name))
            path = folder / engine.file
            if path.stat().st_size == engine.bytes:
                yield engine, path


def write_in_one_step(path: Path, data: bytes) -> None:
    """Whoever reads `path` meanwhile sees the old file or the new one."""
    from tempfile import NamedTemporaryFile  # only writing needs it, and a cold start only reads

    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.close()
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
