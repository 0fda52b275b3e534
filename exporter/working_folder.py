"""Where a bundle is made: a folder beside its target that does not outlive the run, however the run ends.

Beside the target `name` a run makes

    .name.bvx-1a2b3c4d/
        lock      held with flock while its run lives: the kernel lets go of it however the run dies
        bundle/   the new bundle, until it is renamed to the target
        old/      the bundle that stood there, while it is being replaced in two steps
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["BUNDLE", "OLD", "remove_stale", "working_folder"]

BUNDLE, OLD, _LOCK = "bundle", "old", "lock"

_ATTEMPTS = 100
"""A name that is taken, or a folder that another run cleared away, is bad luck; a hundred in a row are not."""


@contextlib.contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """A locked working folder for `target` with an empty `bundle` in it, removed when the block ends."""
    work, lock = _make(target)
    try:
        (work / BUNDLE).mkdir()
        yield work
    finally:
        # The lock goes last: until then nobody else believes the folder stale.
        _discard(work, target)
        os.close(lock)


def remove_stale(target: Path) -> None:
    """Remove the working folders that killed runs left for `target`, and put back a bundle that they moved aside."""
    # The whole name is matched: `.a.bvx-b.bvx-1a2b3c4d` belongs to the target `a.bvx-b`, not to `a`.
    pattern = re.compile(re.escape(f".{target.name}.bvx-") + "[0-9a-f]{8}")
    for work in sorted(target.parent.iterdir()):
        if not pattern.fullmatch(work.name) or work.is_symlink() or not work.is_dir():
            continue
        # What cannot be cleared away (another user's, say) is in nobody's way.
        with contextlib.suppress(OSError):
            if {child.name for child in work.iterdir()} <= {BUNDLE, OLD, _LOCK}:
                _remove_dead(work, target)


def _remove_dead(work: Path, target: Path) -> None:
    lock = _open_lock(work)
    try:
        if _hold(lock):
            _discard(work, target)
    finally:
        os.close(lock)


def _make(target: Path) -> tuple[Path, int]:
    for _ in range(_ATTEMPTS):
        # Not tempfile.mkdtemp: its folders are closed to everybody else, and so would the bundle be.
        work = target.parent / f".{target.name}.bvx-{secrets.token_hex(4)}"
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            work.mkdir()
            lock = _open_lock(work)
            # Another run may have taken the folder, not locked yet, for a dead one.
            with contextlib.suppress(OSError):
                if not _hold(lock):
                    os.close(lock)
                    continue
            return work, lock
    # The folder is gone, or is of a kind (/proc, a mount that went away) that says so of every new name in it.
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target.parent))


def _open_lock(work: Path) -> int:
    return os.open(work / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)


def _hold(lock: int) -> bool:
    """Take the lock; False when a living run has it, or when its file was deleted meanwhile.

    Raises OSError on a filesystem without locks: there a run works, and takes nobody for dead.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return os.fstat(lock).st_nlink > 0
    raise OSError("Windows has no flock")


def _discard(work: Path, target: Path) -> None:
    """Remove `work`; a bundle in it that was moved aside and never replaced goes back first."""
    if (work / OLD).is_dir() and not target.exists():
        os.rename(work / OLD, target)
    shutil.rmtree(work, ignore_errors=True)
