"""How far two sets of outputs are apart, and whether that is close enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The manifest needs these types where NumPy has no business, such as in `bvx --help`.
    from numpy.typing import NDArray

    from .differences import Differences

__all__ = ["SAME_MACHINE", "ParityReport", "ParityRow", "Tolerance", "compare", "make_row"]

SAME_MACHINE = "same machine"
"""Among a manifest's own tolerances, the one for the machine and the engine that made the values."""


@dataclass(frozen=True)
class Tolerance:
    """What a precision may differ from PyTorch's fp32 by.

    `max_abs` and `mean_abs` are fractions of the output's scale (the root mean square of the reference);
    `cosine` is the least cosine similarity; `argmax` the least share of positions whose largest entry agrees.
    """

    max_abs: float
    mean_abs: float
    cosine: float
    argmax: float


@dataclass(frozen=True)
class ParityRow:
    """One output of one case, compared. The differences are fractions of `scale`.

    `batch` and `length` are those of the case's inputs. `against` says what was compared with: "pytorch", or "export"
    for the variant's own values on the machine that made it. `note` says why nothing could be compared.
    """

    case: str
    output: str
    batch: int
    length: int
    scale: float
    max_abs: float
    mean_abs: float
    cosine: float
    argmax: float
    tolerance: Tolerance
    passed: bool
    against: str = "pytorch"
    note: str = ""

    @property
    def severity(self) -> float:
        """How much of what is allowed was used: above 1 for a row that failed."""
        allowed = self.tolerance
        shares = (
            _share(self.max_abs, allowed.max_abs),
            _share(self.mean_abs, allowed.mean_abs),
            _share(1.0 - self.cosine, 1.0 - allowed.cosine),
            _share(1.0 - self.argmax, 1.0 - allowed.argmax),
        )
        return math.inf if any(math.isnan(share) for share in shares) else max(shares)

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON knows it: an infinite or undefined number becomes null."""
        fields = dataclasses.asdict(self)
        return {name: None if _is_not_finite(value) else value for name, value in fields.items()}


@dataclass(frozen=True)
class ParityReport:
    """All rows of one variant on one engine. Truthy when there is at least one row and every row passed.

    `diverged_at` names the first layer whose hidden states differ, where a failed check looked for it.
    """

    variant: str
    engine: str
    rows: tuple[ParityRow, ...]
    machine: Mapping[str, str]
    diverged_at: str | None = None

    def __bool__(self) -> bool:
        return bool(self.rows) and all(row.passed for row in self.rows)

    def worst(self) -> ParityRow | None:
        """The row that used most of what it was allowed, failed ones first; None when there are no rows."""
        return max(self.rows, key=lambda row: (not row.passed, row.severity), default=None)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON knows it."""
        return {
            "variant": self.variant,
            "engine": self.engine,
            "passed": bool(self),
            "diverged_at": self.diverged_at,
            "machine": dict(self.machine),
            "rows": [row.to_dict() for row in self.rows],
        }

    def summary(self) -> str:
        """One paragraph: what was compared, and the worst of it by output, case and length."""
        title = f"{self.variant} on {self.engine}"
        row = self.worst()
        if row is None:
            return f"{title}: nothing was compared, so nothing is proven."
        failed = sum(not each.passed for each in self.rows)
        if not failed:
            return (
                f"{title}: all {len(self.rows)} comparisons agree. The closest to its limit is {_place(row)}: "
                f"{_measures(row)}."
            )
        where = f" The first layer that differs is {self.diverged_at}." if self.diverged_at else ""
        return (
            f"{title}: {failed} of {len(self.rows)} comparisons failed. The worst is {_place(row)}: "
            f"{_measures(row)}.{where}"
        )


def compare(
    case: str,
    output: str,
    reference: NDArray[Any],
    found: NDArray[Any],
    tolerance: Tolerance,
    *,
    batch: int | None = None,
    length: int | None = None,
    typical: float = 0.0,
) -> ParityRow:
    """Compare one output, of any shape and real dtype, with its reference.

    The scale is the root mean square of the reference's finite values, at least 1e-3, and where there are fewer than
    64 of them at least `typical`, the scale of the same output where it has more values. A value that is not
    finite agrees only with the same one (NaN with NaN, an infinity with itself); any other makes the difference
    infinite. `argmax` is the share of rows along the last axis whose largest entry agrees; a tie counts as agreement,
    and two entries tie in the reference when their gap is at most twice what a value may differ by. It is 1 where the
    last axis has one entry. Outputs of another shape, or without values, fail with a note.

    `batch` and `length` are those of the inputs; by default the first axis, and the second where there are three.
    """
    shape = reference.shape
    from .differences import NOTHING_AGREES, measure, scale_of

    batch = batch if batch is not None else (shape[0] if shape else 1)
    length = length if length is not None else (shape[1] if len(shape) > 2 else 0)
    note = ""
    if found.shape != shape:
        note = f"its shape is {list(found.shape)}, not {list(shape)}"
    elif not reference.size:
        note = "it has no values"
    scale = scale_of(reference, typical)
    differences = NOTHING_AGREES
    if not note:
        differences = measure(reference, found, scale, tie=2 * tolerance.max_abs * scale)
    return make_row(case, output, (batch, length), scale, differences, tolerance, note=note)


def make_row(
    case: str,
    output: str,
    shape: tuple[int, int],
    scale: float,
    differences: Differences,
    tolerance: Tolerance,
    *,
    against: str = "pytorch",
    note: str = "",
) -> ParityRow:
    """The row for `differences` that were measured elsewhere; one with a `note` fails."""
    return ParityRow(
        case=case,
        output=output,
        batch=shape[0],
        length=shape[1],
        scale=scale,
        max_abs=differences.max_abs,
        mean_abs=differences.mean_abs,
        cosine=differences.cosine,
        argmax=differences.argmax,
        tolerance=tolerance,
        passed=not note and _is_within(differences, tolerance),
        against=against,
        note=note,
    )


def _is_within(found: Differences, allowed: Tolerance) -> bool:
    # Every comparison with NaN is false, so what could not be measured does not pass.
    return (
        found.max_abs <= allowed.max_abs
        and found.mean_abs <= allowed.mean_abs
        and found.cosine >= allowed.cosine
        and found.argmax >= allowed.argmax
    )


def _share(used: float, allowed: float) -> float:
    if used <= 0.0:
        return 0.0
    return used / allowed if allowed > 0.0 else math.inf


def _is_not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _place(row: ParityRow) -> str:
    against = "" if row.against == "pytorch" else " against this variant's own values at export"
    return f"output {row.output!r} of case {row.case!r}, batch {row.batch}, length {row.length}{against}"


def _measures(row: ParityRow) -> str:
    if row.note:
        return row.note
    allowed = row.tolerance
    return (
        f"largest difference {row.max_abs:.1e} of its scale (allowed {allowed.max_abs:.1e}), "
        f"mean {row.mean_abs:.1e} ({allowed.mean_abs:.1e}), cosine {row.cosine:.7f} ({allowed.cosine:.7f}), "
        f"same largest entry {row.argmax:.2%} ({allowed.argmax:.2%})"
    )
