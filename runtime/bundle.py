"""A bundle on disk: opened from anywhere, checked whole before anything in it is used."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from .errors import BundleError
from .external_data import external_locations
from .manifest import FileEntry, Manifest, Variant
from .paths import check_relative, resolve_inside

__all__ = ["MANIFEST", "Bundle"]

MANIFEST = "bvx.json"

_LONGEST_MANIFEST = 16 * 2**20
_ALWAYS_HASHED = 16 * 2**20
"""Files up to this many bytes are hashed whatever was asked for: everything but weights, in milliseconds."""

_AGAIN = "Copy or download the bundle again, or export it again with `bvx export`."


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder (absolute, links resolved) and what its bvx.json says."""

    root: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path, *, check_hashes: bool = True) -> Bundle:
        """Open the bundle in the folder `path` (a link to a folder is followed) and check every file it lists.

        Sizes are always compared, and the SHA-256 of every file up to 16 MiB; `check_hashes=False` leaves out
        that of larger ones, whose reading may dominate a cold start (about 1 GB/s). Every file that an ONNX model
        refers to must be listed too. Raises BundleError.
        """
        root = _find_root(Path(path))
        manifest = Manifest.from_json(_read_manifest(root))
        bundle = cls(root, manifest)
        for entry in manifest.files:
            _check_file(bundle.path(entry.path), entry, check_hashes)
        _ = bundle._references
        return bundle

    def check_weights(self, model: str) -> None:
        """Hash the large files that `open` left out with `check_hashes=False`, but for those of other models.

        `model` is the listed .onnx file that is about to be loaded: what only other ones read stays unread, as it does
        by the engine. Raises BundleError.
        """
        own = {model, *self._references.get(model, ())}
        others = {name for file, data in self._references.items() for name in (file, *data)} - own
        for entry in self.manifest.files:
            if entry.bytes > _ALWAYS_HASHED and entry.path not in others:
                _check_hash(self.path(entry.path), entry)

    def path(self, relative: str) -> Path:
        """Where the listed file `relative` lies. Raises BundleError when it is not listed or leads out of here."""
        if not self.has(relative):
            raise BundleError(f"{self.root} lists no file {relative[:200]!r}.", _AGAIN)
        return resolve_inside(self.root, relative, f"{MANIFEST} in {self.root}")

    def has(self, relative: str) -> bool:
        """Whether the bundle lists the file `relative`."""
        return relative in self._listed

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(entry.path for entry in self.manifest.files)

    def variant(self, precision: str | None = None, target: str | None = None) -> Variant:
        """The variant of this precision and target; where one is None, the first that fits, verified ones first.

        Variants that failed parity are never chosen. Raises BundleError that lists what there is.
        """
        fitting = [
            variant
            for variant in self.manifest.variants
            if precision in (None, variant.precision) and target in (None, variant.target) and variant.state != "failed"
        ]
        if fitting:
            return min(fitting, key=lambda variant: variant.state != "verified")
        there = ", ".join(f"{variant.key} ({variant.state})" for variant in self.manifest.variants)
        wanted = " ".join(part for part in (precision or "usable", target and f"for {target}") if part)
        raise BundleError(
            f"{self.root} has no {wanted} variant. It has: {there or 'none'}.",
            "Ask for one of these, or export again with the --precision and --target you need.",
        )

    @cached_property
    def _references(self) -> dict[str, tuple[str, ...]]:
        """The files of external data of every model. Raises BundleError for one that the bundle does not list."""
        models = [entry.path for entry in self.manifest.files if entry.path.endswith(".onnx")]
        return {model: tuple(self._find_references(model)) for model in models}

    def _find_references(self, model: str) -> Iterator[str]:
        path = self.path(model)
        folder = PurePosixPath(path.relative_to(self.root).as_posix()).parent
        for location in external_locations(path):
            where = f"External data of {model} in {self.root}"
            relative = (folder / check_relative(location, where)).as_posix()
            if not self.has(relative):
                raise BundleError(f"{where} is in {location[:200]!r}, which {MANIFEST} does not list.", _AGAIN)
            self.path(relative)
            yield relative


def _find_root(path: Path) -> Path:
    try:
        root = path.expanduser().resolve(strict=True)
        names = {child.name for child in root.iterdir()} if root.is_dir() else None
    except FileNotFoundError:
        raise BundleError(f"There is no folder {path}.", "Make one with `bvx export MODEL --out FOLDER`.") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise BundleError(f"{path} cannot be opened ({error}).", "Check the path and its permissions.") from error
    if names is None:
        raise BundleError(f"{path} is a file; a bundle is a folder that holds a {MANIFEST}.", "Name the folder.")
    if MANIFEST in names:
        return root
    if "config.json" in names:
        raise BundleError(
            f"{path} is a Hugging Face checkpoint, not a bundle: it has a config.json and no {MANIFEST}.",
            f"Export it first: `bvx export {path} --out FOLDER`.",
        )
    raise BundleError(
        f"{path} is not a bundle: it has no {MANIFEST}.", "Make one with `bvx export MODEL --out FOLDER`."
    )


def _read_manifest(root: Path) -> str:
    path = resolve_inside(root, MANIFEST, str(root))
    size = _regular_size(path, MANIFEST, root)
    if size > _LONGEST_MANIFEST:
        raise BundleError(
            f"{path} has {size:,} bytes; no bundle needs more than {_LONGEST_MANIFEST:,}.", "Do not use this bundle."
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read ({error}).", _AGAIN) from error


def _check_file(path: Path, entry: FileEntry, check_hashes: bool) -> None:
    size = _regular_size(path, entry.path, path.parent)
    if size != entry.bytes:
        raise BundleError(
            f"{path} has {size:,} bytes; {MANIFEST} says {entry.bytes:,}: it is truncated, or was changed.",
            "Fetch the real file with `git lfs pull`." if _is_lfs_pointer(path) else _AGAIN,
        )
    if check_hashes or size <= _ALWAYS_HASHED:
        _check_hash(path, entry)


def _check_hash(path: Path, entry: FileEntry) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error}).", _AGAIN) from error
    if digest != entry.sha256:
        raise BundleError(f"{path} was changed: its SHA-256 is not the one in {MANIFEST}.", _AGAIN)


def _regular_size(path: Path, name: str, folder: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise BundleError(f"{name} is missing in {folder}.", _AGAIN) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error}).", _AGAIN) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path} is not a regular file.", _AGAIN)
    return status.st_size


def _is_lfs_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(40).startswith(b"version https://git-lfs")
    except OSError:
        return False
