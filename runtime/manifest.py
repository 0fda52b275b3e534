"""bvx.json: what a bundle says of itself. The format is described in docs/bundle.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .parity import Tolerance

__all__ = [
    "FORMAT",
    "CalibrationInfo",
    "EngineFile",
    "FileEntry",
    "Manifest",
    "ModelInfo",
    "PassLog",
    "Profile",
    "TensorSpec",
    "TokenizerInfo",
    "Variant",
]

FORMAT = 1
"""The version of the bundle format that this bvx writes, and the newest that it reads."""


@dataclass(frozen=True)
class TensorSpec:
    """One graph input or output: its name, NumPy dtype name, and shape (a string is a named dynamic axis)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Profile:
    """The shapes (batch, length in tokens) that an engine is built for; `opt` is the one it is tuned for."""

    min: tuple[int, int]
    opt: tuple[int, int]
    max: tuple[int, int]

    def covers(self, batch: int, length: int) -> bool:
        return self.min[0] <= batch <= self.max[0] and self.min[1] <= length <= self.max[1]


@dataclass(frozen=True)
class ModelInfo:
    """Where the weights came from. `random` marks weights that were never trained, drawn with `seed`.

    `new_weights` are those of a head that the checkpoint does not have: they were drawn as well, with `seed`.
    """

    id: str
    revision: str | None
    random: bool
    parameters: int
    unexpected_weights: tuple[str, ...] = ()
    seed: int | None = None
    new_weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenizerInfo:
    """How texts become batches. `standin` marks a vocabulary that bvx made because weights are random.

    `padding_side` is what the checkpoint says of itself; bvx pads on the right always.
    """

    pad_token: str
    pad_id: int
    pad_type_id: int
    padding_side: Literal["left", "right"]
    standin: bool = False


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle: its path (POSIX, relative to the bundle), its SHA-256 and its size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Variant:
    """One runnable graph: a precision lowered for a target.

    `file` is a path relative to the bundle. `state` is "verified" (parity was proven through the engine that
    serves it, on `verified_on`), "not-runnable-here" (its engine was not on the machine that made it) or "failed".
    `engine_options` are what its engine has to be told so that the graph runs in the form that was measured.
    `kept` maps operators that stayed in a higher precision to the reason, and `evidence` says what was looked at to
    find them, where the graph has a type of 16 bits (docs/bundle.md lists its fields). `reduced` marks int8 weights
    that lie within -64..64, which x86 without VNNI needs. `batch_dependent` marks a variant whose answer to a text
    depends on what else is in the batch.
    """

    precision: str
    target: str
    file: str
    state: Literal["verified", "not-runnable-here", "failed"]
    verified_on: Mapping[str, str] = field(default_factory=dict)
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    reduced: bool = False
    batch_dependent: bool = False

    @property
    def key(self) -> str:
        """The name that parity rows and golden values know it by, such as `fp32/cpu`."""
        return f"{self.precision}/{self.target}"


@dataclass(frozen=True)
class EngineFile:
    """A compiled engine: `file` is its path in the bundle, or in the machine's cache, with its SHA-256 and size.

    It runs the variant whose key is `variant` on `engine` of `version`, on a GPU of one of the architectures `gpus`
    (sm_89), for shapes of `profiles`. `compatible` names what else it may run on: "version" later TensorRT versions,
    "hardware" GPUs from Ampere on. `audit` is what it was found to consist of: docs/tensorrt.md has its fields.
    """

    variant: str
    engine: str
    version: str
    gpus: tuple[str, ...]
    file: str
    sha256: str
    bytes: int
    profiles: tuple[Profile, ...]
    compatible: tuple[str, ...] = ()
    audit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrationInfo:
    """What the ranges were observed on: `samples` texts, `tokens` long in all, of the `lines` in `source`.

    `source` is a file's name, "stdin" or "builtin"; `digest` the SHA-256 of the texts in order, each followed by a NUL
    byte. `observer` made ranges of what was seen, and `methods` are what else was done to keep the accuracy.
    """

    source: str
    lines: int
    samples: int
    tokens: int
    seed: int
    digest: str
    observer: str
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class PassLog:
    """What one pass did: how often it applied, and why it did not where it could have (reason -> count)."""

    name: str
    applied: int
    refusals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The whole of bvx.json.

    `head` holds what the task's answer needs beyond the graph (labels, problem type, pooling, mask token id);
    `max_length` is the usable length in tokens, special tokens included. `parity` holds, per variant key
    ("fp32/cpu"), the rows of the report that let it be published; `tolerances` holds, per precision, what
    a machine that verifies the bundle allows, and `own_tolerances` what it may differ by from a variant's own values:
    on the same machine, and per precision elsewhere. `calibration` says what int8 and fp16 variants were calibrated on.
    `accuracy` holds, per variant key, its metric beside fp32's and how many predictions changed; `latency`, per variant
    key, what one text took on the machine that exported; `recommended` is the key of the fastest variant that keeps
    the accuracy asked for, empty where none was compared; `tradeoff` the choices of operators to keep in higher
    precision that were measured for it. `input_limits` says, per input, below what every value must
    lie (the rows of the table that it picks from). `engines` are compiled ones that lie inside the bundle.
    """

    format: int
    bvx_version: str
    model: ModelInfo
    family: str
    task: str
    head: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_length: int
    tokenizer: TokenizerInfo | None
    variants: tuple[Variant, ...]
    files: tuple[FileEntry, ...]
    profiles: tuple[Profile, ...] = ()
    engines: tuple[EngineFile, ...] = ()
    passes: Mapping[str, tuple[PassLog, ...]] = field(default_factory=dict)
    parity: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    own_tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    input_limits: Mapping[str, int] = field(default_factory=dict)
    calibration: CalibrationInfo | None = None
    accuracy: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    latency: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recommended: str = ""
    tradeoff: tuple[Mapping[str, Any], ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of bvx.json. Raises ValueError for a number that JSON does not have (NaN, infinity)."""
        from .manifest_json import write_manifest

        return write_manifest(self)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest in the text of a bvx.json from anywhere.

        Raises BundleError that names the first field which is missing or wrong, or says who made a newer format.
        """
        from .manifest_json import read_manifest

        return read_manifest(text)
