"""Worker: a contender's process, seen from here."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from ...runtime.errors import BvxError
from .contenders import Contender

__all__ = ["ToolFailed", "Worker"]

_LAST_WORDS = 300

_PATIENCE = 600.0
"""Seconds that an answer may take: compiling for a shape takes a minute, and what takes longer than this hangs."""


class ToolFailed(BvxError):
    """What a contender could not do; the report says so in its place."""


class Worker:
    """A process that has loaded its engine once it is made. Raises ToolFailed when it cannot, or ends.

    It is in a session of its own, so that Ctrl-C ends the measuring and not the measured.
    """

    def __init__(self, contender: Contender, environment: Mapping[str, str], cores: list[int]) -> None:
        self.contender = contender
        command = [
            contender.python,
            "-m",
            "bvx.exporter.bench.serve",
            json.dumps({**contender.request, "cores": cores}),
        ]
        threads = str(contender.threads)
        variables = {**os.environ, **environment, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=variables,
            start_new_session=True,
        )
        try:
            self.facts: dict[str, Any] = self._read()["ready"]
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        """What the process answers to `do`; see serve.py."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # It has ended; reading says with which words.
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            try:
                pipe.close()
            except OSError:
                continue

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        # Every line answers one that was asked, so that none waits in the buffer.
        if not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
            self._process.kill()
            raise ToolFailed(f"It did not answer within {_PATIENCE:.0f} s.")
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = " ".join(self._errors.read().decode(errors="replace").split())[-_LAST_WORDS:]
            raise ToolFailed(f"Its process ended with code {code}{f': {said}' if said else ''}.")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise ToolFailed(answer["failed"])
        return answer
