"""Memory over thousands of requests of random lengths, in a process of its own; benchmarks/soak.py does 100,000."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bvx.runtime.engines import ENGINES

ON_CPU = [name for name, entry in ENGINES.items() if "cpu" in entry.targets]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the resident size is read from /proc")
@pytest.mark.parametrize("engine", ON_CPU)
def test_memory_stays_flat_over_thousands_of_requests_of_random_lengths(make_bundle, tmp_path, root, engine):
    pytest.importorskip(ENGINES[engine].library)
    found = tmp_path / "soak.json"
    command = [sys.executable, root / "benchmarks" / "soak.py", make_bundle().path, "--requests", "3000"]
    options = ["--longest", "22", "--engine", engine, "--json", found]
    subprocess.run([*command, *options], check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    report = json.loads(found.read_text())
    assert (report["requests"], report["curve"][-1]["requests"]) == (3000, 3000)
    assert report["growth_mb"] < 1
