"""The machine's cache of engines: where it is, and what it holds for which bundle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bvx.runtime.bundle import Bundle
from bvx.runtime.cache import cache_folder, engine_folder, find_engines, store_engine, timing_cache
from bvx.runtime.errors import BundleError
from bvx.runtime.manifest import EngineFile, Manifest, Profile

DATA = b"plan"


def record(**fields):
    digest = hashlib.sha256(DATA).hexdigest()
    values = {
        "variant": "fp32/cpu",
        "engine": "tensorrt",
        "version": "11.0",
        "gpus": ("sm_89",),
        "file": "engines/a.plan",
    }
    values |= {"sha256": digest, "bytes": len(DATA), "profiles": (Profile((1, 1), (1, 8), (2, 24)),)}
    return EngineFile(**(values | {"audit": {"kernels": 3, "layers": [{"name": "a"}]}} | fields))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BVX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_the_environment_says(monkeypatch, home):
    assert cache_folder() == home
    monkeypatch.delenv("BVX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/bvx")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/bvx"


def test_an_engine_is_found_again_for_its_bundle_and_for_no_other(make_bundle):
    bundle, other = (Bundle.open(make_bundle(task).path) for task in ("fill-mask", "text-classification"))
    path = store_engine(bundle, record(), DATA)
    assert path.read_bytes() == DATA
    ((found, place),) = find_engines(bundle)
    assert place == path
    assert (found.variant, found.profiles, found.audit) == ("fp32/cpu", record().profiles, record().audit)
    assert not list(find_engines(other))


def test_a_bundle_that_is_made_anew_has_another_place(make_bundle):
    made = make_bundle()
    before = engine_folder(Bundle.open(made.path))
    made.change(bvx_version="1")
    assert engine_folder(Bundle.open(made.path)) != before


def test_building_again_replaces_and_leaves_nothing_else(make_bundle):
    bundle = Bundle.open(make_bundle().path)
    for _ in range(2):
        path = store_engine(bundle, record(), DATA)
    assert {one.name for one in path.parent.iterdir()} == {"a.plan", "a.json"}


@pytest.mark.parametrize("harm", ["no json", "{}", '{"file": "../../etc/passwd"}'])
def test_a_damaged_record_is_left_out(make_bundle, harm):
    bundle = Bundle.open(make_bundle().path)
    store_engine(bundle, record(), DATA).with_suffix(".json").write_text(harm)
    assert not list(find_engines(bundle))


def test_a_torn_plan_is_left_out(make_bundle):
    bundle = Bundle.open(make_bundle().path)
    store_engine(bundle, record(), DATA).write_bytes(b"pl")
    assert not list(find_engines(bundle))


def test_timings_are_kept_apart_by_engine_version_and_gpu():
    names = {timing_cache(*one) for one in (("a", "1", "sm_80"), ("a", "2", "sm_80"), ("a", "1", "sm_89"))}
    assert len(names) == 3
    assert all(name.parent.is_dir() for name in names)


def test_a_manifest_keeps_its_engines_and_refuses_those_of_no_file(make_bundle):
    made = make_bundle()
    (made.path / "engines").mkdir()
    made.replace_file("engines/a.plan", DATA)
    from .conftest import list_files

    made.change(files=list_files(made.path), engines=(record(),))
    bundle = Bundle.open(made.path)
    assert bundle.manifest.engines == (record(),)
    ((found, path),) = find_engines(bundle)
    assert found == record() and path.read_bytes() == DATA
    made.change(engines=(record(file="engines/b.plan"),))
    with pytest.raises(BundleError, match=r"engines/b\.plan.*belongs to no listed file"):
        Bundle.open(made.path)
    made.change(files=list_files(made.path), engines=(record(variant="int4/cpu"),))
    with pytest.raises(BundleError, match="int4/cpu"):
        Manifest.from_json((made.path / "bvx.json").read_text())
