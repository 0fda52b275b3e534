"""The facts of a machine, from made-up machines."""

from __future__ import annotations

import json
import stat

import pytest

from bvx.exporter import doctor

X86 = {"name": "A CPU", "architecture": "x86_64"} | dict.fromkeys(
    ("avx2", "avx512f", "vnni", "amx_int8", "amx_bf16", "neon", "dotprod", "i8mm"), False
)


def test_everything_examined_is_json():
    document = doctor.examine({})
    assert json.loads(json.dumps(document)) == document
    assert document["cores"]["allowed"] >= 1


def test_what_auto_takes_is_said_for_each_target_and_why(fake_cuda, fake_trt):
    fake_trt("11.4.0.106")
    fake_cuda(devices=0)
    chosen = doctor.choose_engines()
    assert chosen["cpu"] == {"engine": "onnxruntime", "why": "It stands first, and is here."}
    assert chosen["tensorrt"]["engine"] is None and "no NVIDIA GPU here" in chosen["tensorrt"]["why"]
    fake_cuda()
    assert doctor.choose_engines()["tensorrt"]["engine"] == "tensorrt"


def test_both_packages_of_onnxruntime_are_a_clash_with_its_remedy():
    (problem,) = doctor.find_problems({"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.30.0"}, {})
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in problem
    assert not doctor.find_problems({"onnxruntime": "1.30.0"}, {})


def test_a_machine_without_an_engine_is_told_what_to_install():
    (problem,) = doctor.find_problems({}, {})
    assert "pip install bvx[cpu]" in problem


def test_an_engine_that_is_too_old_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "find_version", lambda name: "1.9.2" if name == "onnxruntime" else None)
    extras = doctor.missing_by_extra()
    assert extras["cpu"] == ["onnxruntime 1.9.2 (wanted 1.24 or newer)"]
    (problem,) = doctor.find_problems({"onnxruntime": "1.9.2"}, extras)
    assert "1.9.2" in problem


def test_every_extra_lists_what_it_lacks(monkeypatch):
    monkeypatch.setattr(doctor, "find_version", lambda name: None)
    extras = doctor.missing_by_extra()
    assert extras["cpu"] == ["onnxruntime"]
    assert {"torch", "transformers", "onnx"} <= set(extras["export"])
    assert "dev" not in extras
    monkeypatch.setattr(doctor, "find_version", lambda name: "9999")
    assert not any(doctor.missing_by_extra().values())


@pytest.mark.parametrize(
    ("found", "wanted", "older"),
    [("1.24", "1.24.0", False), ("1.9", "1.24", True), ("2.13.0+cpu", "2.9", False), ("1.24.0rc1", "1.24", False)],
)
def test_versions_are_compared_by_their_numbers(found, wanted, older):
    assert (doctor._numbers(found) < doctor._numbers(wanted)) is older


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_each_feature_says_what_having_or_lacking_it_means(architecture):
    without = doctor.describe_cpu({**X86, "architecture": architecture})["features"]
    names = {"dotprod", "neon", "i8mm"} if architecture == "aarch64" else {"avx512f", "vnni", "amx_int8"}
    assert names <= set(without)
    having = doctor.describe_cpu(dict.fromkeys(X86, True) | {"name": "", "architecture": architecture})["features"]
    for name in without:
        assert having[name]["present"]
        assert not without[name]["present"]
        assert having[name]["meaning"] != without[name]["meaning"]


def test_memory_is_the_machines_and_the_containers(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       8000 kB\nMemAvailable:   6000 kB\n")
    assert doctor.find_memory(meminfo, tmp_path) == {"total": 8192000, "available": 6144000, "limit": None}
    (tmp_path / "memory.max").write_text("1000000\n")
    assert doctor.find_memory(meminfo, tmp_path)["limit"] == 1000000
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor.find_memory(meminfo, tmp_path)["limit"] is None
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert doctor.find_memory(meminfo, tmp_path)["limit"] is None


def program(folder, text):
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_gpus_are_what_nvidia_smi_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "echo 'NVIDIA H100, 570.86.15, 81559 MiB, 9.0'")
    assert doctor.find_gpu(tmp_path / "none") == {
        "driver": "570.86.15",
        "devices": [{"name": "NVIDIA H100", "memory": "81559 MiB", "compute_capability": "9.0"}],
    }


@pytest.mark.parametrize("text", ["exit 9", "echo 'NVIDIA-SMI has failed'"])
def test_without_nvidia_smi_the_driver_still_says_its_version(tmp_path, monkeypatch, text):
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, text)
    assert doctor.find_gpu(tmp_path / "none") == {"driver": None, "devices": []}
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n")
    assert doctor.find_gpu(version) == {"driver": "570.86.15", "devices": []}


def test_secrets_in_the_environment_are_only_said_to_be_set():
    document = doctor.examine({"HF_TOKEN": "hf_secret", "HTTPS_PROXY": "http://me:word@proxy", "HF_HUB_OFFLINE": "1"})
    assert "hf_secret" not in json.dumps(document)
    assert "word@" not in json.dumps(document)
    assert document["environment"]["HF_HUB_OFFLINE"]["value"] == "1"
