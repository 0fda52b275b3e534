"""The hand-made bundles of the runtime's tests, whose models answer every task at once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_NAME = "tiny_bundles"
_SOURCE = Path(__file__).resolve().parents[2] / "runtime/conftest.py"

_specification = importlib.util.spec_from_file_location(_NAME, _SOURCE)
_module = importlib.util.module_from_spec(_specification)
sys.modules[_NAME] = _module
_specification.loader.exec_module(_module)

make_bundle = _module.make_bundle
