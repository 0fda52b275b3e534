"""What programs read: JSON that is valid whatever is in it, and the words for any error."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from bvx.exporter.documents import Interrupted, Unexpected, explain, to_json, to_plain
from bvx.runtime.errors import InputError


def test_a_document_is_one_line_whatever_is_in_it():
    document = {"text": "\x1b[0m\x9b \u2028 \u202e é 漢", "numbers": [float("nan"), float("inf"), 1.5]}
    for ascii_only in (True, False):
        line = to_json(document, ascii_only=ascii_only)
        assert not set(line) & set("\n\x1b\x9b\u2028\u202e")
        assert json.loads(line) == {**document, "numbers": [None, None, 1.5]}
    assert "漢" in to_json(document)


def test_arrays_become_lists():
    assert to_plain({"a": (np.float32(1.5), [np.arange(2)])}) == {"a": [1.5, [[0, 1]]]}


def test_an_error_of_bvx_keeps_its_words():
    error = InputError("It is empty.", "Write one.")
    assert explain(error) is error


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (KeyboardInterrupt(), Interrupted, "Interrupted."),
        (OSError(errno.ENOSPC, "No space left on device", "/full"), None, "No space left on device (/full). Free"),
        (OSError(errno.ENOENT, "No such file or directory", "texts"), None, "No such file or directory (texts). Check"),
        (OSError(errno.EISDIR, "Is a directory", "texts"), None, "Is a directory (texts). Name a file."),
        (OSError(errno.EROFS, "Read-only file system"), None, "that you may write to"),
        (MemoryError(), None, "The memory does not suffice. `bvx doctor`"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), None, "The memory does not suffice (Default"),
        (ModuleNotFoundError("No module named 'torch'", name="torch.nn"), None, "pip install bvx[export]"),
        (ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"), None, "pip install bvx[cpu]"),
        (ModuleNotFoundError("No module named 'tkinter'", name="tkinter"), Unexpected, "report"),
        (ZeroDivisionError("what?\nwhere?"), Unexpected, "ZeroDivisionError: what? where?."),
    ],
)
def test_any_error_is_told_in_words_with_a_next_step(error, kind, said):
    explained = explain(error)
    assert said in str(explained)
    assert isinstance(explained, Unexpected | Interrupted) is (kind is not None)
    assert kind is None or type(explained) is kind
    assert explained.next_step or kind is Interrupted
