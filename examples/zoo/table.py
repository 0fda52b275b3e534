"""The table of what every checkpoint reaches, in README.md beside the checkpoints' folder."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["write_table"]

_BEGIN, _END = "<!-- accuracy -->\n", "<!-- /accuracy -->\n"
_HEAD = (
    "| checkpoint | task | metric | PyTorch | naive int8 | by chance | parameters | bytes |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def write_table(models: Path) -> None:
    """Replace what stands between the README's two marks; without a README, write the table alone."""
    rows = "".join(_describe(path) for path in sorted(models.glob("*/accuracy.json")))
    readme = models.parent / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else _BEGIN + _END
    before, after = text.split(_BEGIN)[0], text.split(_END)[1]
    readme.write_text(f"{before}{_BEGIN}{_HEAD}{rows}{_END}{after}", encoding="utf-8")


def _describe(path: Path) -> str:
    accuracy = json.loads(path.read_text(encoding="utf-8"))
    size = (path.parent / "model.safetensors").stat().st_size
    return "".join(
        f"| `{path.parent.name}` | {accuracy['task']} | {name.replace('_', ' ')} | {one['value']:.3f} "
        f"| {one['naive_int8']:.3f} | {one['chance']:.3f} | {accuracy['parameters']:,} | {size:,} |\n"
        for name, one in accuracy["metrics"].items()
    )
