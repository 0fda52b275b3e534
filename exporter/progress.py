"""What an export tells whoever is watching."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Gets told where an export is. The command line draws it; a library user may pass Silent."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A new stage begins; `total` is how many units it has, where that is known."""

    def advance(self, units: int = 1, detail: str = "") -> None:
        """`units` more of the present stage are done; `detail` says what is being done now."""

    def warn(self, sentence: str) -> None:
        """Something that the user should know and that does not stop the export."""


class Silent:
    """Says nothing; keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self, units: int = 1, detail: str = "") -> None:
        pass

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
