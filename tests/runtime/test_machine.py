"""What the machine offers, read from trees that stand in for /proc and /sys."""

import os

import pytest

from bvx.runtime import machine

CASCADE_LAKE = """processor\t: 0
model name\t: Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz
flags\t\t: fpu avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz
flags\t\t: fpu avx2 avx512f avx512_vnni
"""
GRAVITON = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd asimddp i8mm\nCPU part\t: 0xd40\n"


@pytest.fixture
def cores(tmp_path, monkeypatch):
    """cores(membership, files) -> allowed_cores on a machine of eight cores with these cgroup files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)

    def count(membership, files):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "membership").write_text(membership)
        return machine.allowed_cores(tmp_path / "cgroup", tmp_path / "membership")

    return count


def test_intel_features_are_found(tmp_path):
    (tmp_path / "cpuinfo").write_text(CASCADE_LAKE)
    features = machine.cpu_features(tmp_path / "cpuinfo")
    assert features["name"] == "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz"
    has = {name for name, value in features.items() if value is True}
    assert has == {"avx2", "avx512f", "vnni"}


def test_avx_vnni_alone_is_vnni(tmp_path):
    (tmp_path / "cpuinfo").write_text("model name : N100\nflags : avx2 avx_vnni\n")
    assert machine.cpu_features(tmp_path / "cpuinfo")["vnni"] is True


def test_amx_is_found(tmp_path):
    (tmp_path / "cpuinfo").write_text("flags : amx_bf16 amx_tile amx_int8\n")
    features = machine.cpu_features(tmp_path / "cpuinfo")
    assert features["amx_int8"] is True
    assert features["amx_bf16"] is True


def test_arm_features_are_found(tmp_path):
    (tmp_path / "cpuinfo").write_text(GRAVITON)
    features = machine.cpu_features(tmp_path / "cpuinfo")
    assert {name for name, value in features.items() if value is True} == {"neon", "dotprod", "i8mm"}
    assert features["name"]


def test_a_machine_that_says_nothing_has_no_features_and_some_name(tmp_path):
    features = machine.cpu_features(tmp_path / "absent")
    assert isinstance(features["name"], str)
    assert "vnni" in features


def test_without_a_quota_the_affinity_counts(cores):
    assert cores("0::/\n", {"cpu.max": "max 100000\n"}) == 8


@pytest.mark.parametrize(("quota", "wanted"), [("200000 100000", 2), ("350000 100000", 3), ("50000 100000", 1)])
def test_a_v2_quota_is_rounded_down_to_at_least_one(cores, quota, wanted):
    assert cores("0::/\n", {"cpu.max": quota}) == wanted


def test_a_v2_quota_of_a_cgroup_above_binds(cores):
    files = {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": "600000 100000"}
    assert cores("0::/a/b/c\n", files) == 3


def test_a_v2_quota_of_a_sibling_does_not_bind(cores):
    assert cores("0::/a\n", {"b/cpu.max": "100000 100000"}) == 8


def test_inside_a_container_whose_path_is_the_hosts_the_root_counts(cores):
    assert cores("0::/docker/0123abc\n", {"cpu.max": "400000 100000"}) == 4
    assert cores("0::/../../other\n", {"cpu.max": "400000 100000"}) == 4


def test_a_hybrid_tree_is_read(cores):
    assert cores("1:name=systemd:/\n0::/a\n", {"unified/a/cpu.max": "200000 100000"}) == 2


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpu"])
def test_a_v1_quota_is_read(cores, controllers):
    files = {
        f"{controllers}/docker/x/cpu.cfs_quota_us": "250000\n",
        f"{controllers}/docker/x/cpu.cfs_period_us": "100000\n",
        f"{controllers}/cpu.cfs_quota_us": "-1\n",
        f"{controllers}/cpu.cfs_period_us": "100000\n",
    }
    assert cores(f"7:memory:/\n4:{controllers}:/docker/x\n", files) == 2


def test_a_v1_tree_without_a_quota_does_not_bind(cores):
    assert cores("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}) == 8


@pytest.mark.parametrize("text", ["", "max", "0 0", "x y", "100000 0", "-5 100000"])
def test_a_quota_that_makes_no_sense_does_not_bind(cores, text):
    assert cores("0::/\n", {"cpu.max": text}) == 8


@pytest.mark.parametrize("membership", ["", "garbage", "0::", ":::::", "0::relative/path\n"])
def test_a_membership_that_makes_no_sense_does_no_harm(cores, membership):
    assert cores(membership, {}) == 8


def test_affinity_binds_below_a_quota(cores, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    assert cores("0::/\n", {"cpu.max": "400000 100000"}) == 2


def test_this_machine_is_described_in_texts():
    described = machine.describe()
    assert set(described) == {"cpu", "features", "cores", "system"}
    assert all(isinstance(value, str) for value in described.values())
    assert int(described["cores"]) >= 1
