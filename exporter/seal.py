"""Sealing: a bundle is written beside its target, hashed, and put in place in one step, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..runtime.bundle import MANIFEST, Bundle
from ..runtime.errors import BundleError, BvxError
from ..runtime.json_reader import parse_json
from ..runtime.manifest import FileEntry, Manifest
from .exchange import exchange
from .interrupts import Interrupts
from .working_folder import BUNDLE, OLD, remove_stale, working_folder

__all__ = ["Staging", "check_target", "publish", "seal", "staging"]

_JUNK = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""What file managers leave behind: no reason to keep a bundle from being replaced."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EBUSY, errno.ENAMETOOLONG, errno.EEXIST,
    errno.ENOTEMPTY, errno.ENOENT,
)  # fmt: skip


@dataclass(frozen=True)
class Staging:
    """Where a bundle is being written: `folder` is its future content, `out` (absolute) its future place."""

    folder: Path
    out: Path
    overwrite: bool


def check_target(out: Path, overwrite: bool = False) -> Path:
    """The real place of `out` (links resolved), where a bundle may be put. Raises BundleError where it may not.

    A path that does not exist and an empty folder are free. A bundle is replaced only with `overwrite`. A file, a
    folder that is no bundle, and a bundle that holds files which it does not list are never touched.
    """
    try:
        target = out.expanduser().resolve()
        if not target.exists():
            return target
        if not target.is_dir():
            raise BundleError(f"{out} is a file; a bundle is a folder.", "Choose another --out.")
        names = {child.name for child in target.iterdir()}
        strangers = _strangers(target) if MANIFEST in names and overwrite else []
    except (OSError, RuntimeError) as error:
        raise BundleError(f"{out} cannot be looked at ({error}).", "Choose another --out.") from error
    if names and MANIFEST not in names:
        raise BundleError(
            f"{out} exists and is not a bundle (it has no {MANIFEST}).",
            "Choose another --out; bvx deletes nothing that it did not write, --overwrite or not.",
        )
    if names and not overwrite:
        raise BundleError(
            f"There is a bundle in {out} already.", "Replace it with --overwrite, or choose another --out."
        )
    if strangers:
        raise BundleError(
            f"{out} is a bundle, but holds files that it does not list: {', '.join(sorted(strangers)[:5])}.",
            "Move them away (replacing the bundle would delete them), or choose another --out.",
        )
    return target


@contextlib.contextmanager
def staging(out: Path, overwrite: bool = False) -> Iterator[Staging]:
    """A folder on the target's filesystem to write a bundle into, gone when the block ends, however it ends.

    Folders that killed runs left for the same target are removed first. SIGTERM ends the block as Ctrl-C does. A disk
    that is full or not writable raises BundleError; `out` is checked as by `check_target`.
    """
    target = check_target(out, overwrite)
    made: list[Path] = []
    with _explain_disk(target), Interrupts() as interrupts:
        try:
            _make_parents(target.parent, made)
            remove_stale(target)
            # A killed run's bundle may have been put back there just now.
            check_target(target, overwrite)
            with working_folder(target) as work:
                try:
                    interrupts.allow()
                    yield Staging(work / BUNDLE, target, overwrite)
                finally:
                    interrupts.refuse()
        finally:
            for parent in reversed(made):
                with contextlib.suppress(OSError):
                    parent.rmdir()


def publish(stage: Staging, manifest: Manifest) -> Path:
    """Seal what lies in `stage.folder` and put it at `stage.out`; the path of the bundle.

    `manifest.files` is filled in with every file's hash, bvx.json is written last, the whole is opened as a service
    would open it, flushed to the disk, and renamed in one step. Raises BundleError, and then nothing has changed.
    """
    seal(stage.folder, manifest)
    written = _walk(stage.folder)
    Bundle.open(stage.folder, check_hashes=False)
    for path in [*written, stage.folder]:
        _flush(path)
    check_target(stage.out, stage.overwrite)
    _move_in(stage)
    _flush(stage.out.parent)
    return stage.out


def seal(folder: Path, manifest: Manifest) -> None:
    """Write bvx.json into `folder`, with every file's size and hash in `manifest.files`."""
    written = [path for path in _walk(folder) if path != folder / MANIFEST]
    files = tuple(_entry(folder, path) for path in written if path.is_file())
    (folder / MANIFEST).write_text(replace(manifest, files=files).to_json(), encoding="utf-8", newline="\n")


def _move_in(stage: Staging) -> None:
    """Rename the new bundle to its place; what stood there ends in the working folder and goes with it.

    Without `overwrite` nothing but an empty folder may stand there: the system refuses to rename to anything else,
    also to what somebody has put there since it was checked.
    """
    if not stage.overwrite or not stage.out.exists() or not any(stage.out.iterdir()):
        os.rename(stage.folder, stage.out)
    elif not exchange(stage.folder, stage.out):
        # Two steps: if the run ends between them, the old bundle is put back when the working folder is removed.
        os.rename(stage.out, stage.folder.parent / OLD)
        os.rename(stage.folder, stage.out)


def _walk(root: Path) -> list[Path]:
    """Every file and folder below `root`, sorted. Raises BundleError for a link or a special file."""
    found = sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix())
    for path in found:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleError(
                f"{path.relative_to(root)} is a link or a special file; a bundle holds plain files only.",
                "Copy the file itself.",
            )
    return found


def _entry(root: Path, path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(path.relative_to(root).as_posix(), digest, os.fstat(file.fileno()).st_size)


def _flush(path: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network filesystems cannot flush a folder; but a full disk must not pass.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _strangers(target: Path) -> list[str]:
    """Files in the bundle `target` that its bvx.json does not list. Raises BundleError when that is unreadable."""
    # Not Manifest.from_json: a bundle of a newer format, or one whose files are damaged, may be replaced too.
    try:
        document = parse_json((target / MANIFEST).read_text(encoding="utf-8", errors="replace"), MANIFEST)
        document.get("format").integer(least=1)
        listed = {MANIFEST, *(item.get("path").text() for item in document.get("files").items())}
    except BundleError as error:
        raise BundleError(
            f"{target} cannot be told to be a bundle: {error.cause}",
            "Choose another --out, or delete the folder yourself if nothing in it is needed.",
        ) from error
    present = (path for path in target.rglob("*") if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(target).as_posix() for path in present if path.name not in _JUNK)
    return [name for name in names if name not in listed]


def _make_parents(folder: Path, made: list[Path]) -> None:
    """Make `folder` and what is missing above it, adding each folder made to `made`."""
    if not folder.exists():
        _make_parents(folder.parent, made)
        folder.mkdir(exist_ok=True)
        made.append(folder)


@contextlib.contextmanager
def _explain_disk(target: Path) -> Iterator[None]:
    """Turn what a disk refuses into a sentence, also where a library has wrapped it in an error of its own."""
    try:
        yield
    except BvxError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or "No space left on device" in str(error):
            raise BundleError(
                f"The disk that holds {target.parent} is full, so the bundle was not written.",
                "Free some space, or choose another --out. Nothing was changed.",
            ) from error
        if isinstance(error, OSError) and number in _REFUSED and _is_beside(error, target):
            raise BundleError(
                f"{target} cannot be written ({error.strerror}).", "Choose an --out that you may write to."
            ) from error
        raise


def _is_beside(error: OSError, target: Path) -> bool:
    """Whether the error speaks of the target or its surroundings, and not of a checkpoint that is being read."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    around = (target.parent, *target.parent.parents)
    return any(Path(name) in around or Path(name).is_relative_to(target.parent) for name in names)
