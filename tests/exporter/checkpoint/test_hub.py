"""The hub, played by a small server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

from bvx.exporter.checkpoint import hub
from bvx.exporter.progress import Silent
from bvx.runtime.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "76543210fedcba9876543210fedcba9876543210"


class Hub(ThreadingHTTPServer):
    """Serves `models`: id -> revision -> {file name: content}; ids in `gated` want a token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.models: dict[str, dict[str, dict[str, bytes]]] = {}
        self.gated: set[str] = set()
        self.served: list[str] = []
        self.tokens: set[str] = set()
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.server.broken:
            return self._send(503, b"")
        if token := self.headers.get("Authorization"):
            self.server.tokens.add(token)
        is_api = parts[:2] == ["api", "models"]
        parts = parts[2:] if is_api else parts
        verbs = [index for index, part in enumerate(parts) if part in ("revision", "tree", "resolve")]
        at = verbs[0] if verbs else len(parts)
        model, rest = "/".join(parts[:at]), parts[at + 1 :]
        if model not in self.server.models:
            return self._send(401, b'{"error": "Invalid credentials"}', {"X-Error-Code": "RepoNotFound"})
        revision = rest[0] if rest else "main"
        revisions = self.server.models[model]
        commit = {"main": COMMIT}.get(revision, revision)
        if commit not in revisions:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = revisions[commit]
        if not is_api:
            return self._send_file(model, files, "/".join(rest[1:]), commit)
        if parts[at : at + 1] == ["tree"]:
            rows = [{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in files.items()]
            return self._send(200, json.dumps(rows).encode())
        siblings = [{"rfilename": name, "size": len(data), "blobId": name} for name, data in files.items()]
        return self._send(200, json.dumps({"id": model, "sha": commit, "siblings": siblings}).encode())

    def _send_file(self, model: str, files: dict[str, bytes], name: str, commit: str) -> None:
        if model in self.server.gated and not self.headers.get("Authorization"):
            return self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
        if name not in files:
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        if self.command == "GET":
            self.server.served.append(name)
        etag = f'"{commit}-{name.replace("/", "-")}"'
        return self._send(200, files[name], {"ETag": etag, "X-Repo-Commit": commit})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub, and a client on an empty cache that knows no other."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    path = template.removeprefix(f"{urlsplit(template).scheme}://{urlsplit(template).netloc}")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def files_of(*weights: str) -> dict[str, bytes]:
    names = (
        "config.json",
        "vocab.txt",
        "README.md",
        "1_Pooling/config.json",
        "onnx/model.onnx",
        "tf_model.h5",
        *weights,
    )
    return {name: f"{name}!".encode() for name in names}


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class Counting(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = 0
        self.done = 0

    def stage(self, name: str, total: int | None = None) -> None:
        self.total = total

    def advance(self, units: int = 1, detail: str = "") -> None:
        self.done += units


def test_downloads_what_an_export_reads_and_no_second_form_of_the_weights(served: Hub):
    served.models["owner/name"] = {COMMIT: files_of("model.safetensors", "pytorch_model.bin", "onnx/model.safetensors")}
    progress = Counting()
    source = hub.find_checkpoint("owner/name", None, progress)
    assert names_in(source.folder) == {"config.json", "vocab.txt", "1_Pooling/config.json", "model.safetensors"}
    assert (source.id, source.revision) == ("owner/name", COMMIT)
    assert progress.total == progress.done == sum(len(f"{name}!") for name in names_in(source.folder))


def test_takes_pickled_weights_where_there_is_nothing_else(served: Hub):
    served.models["name"] = {COMMIT: files_of("pytorch_model.bin", "optimizer.pt")}
    assert "pytorch_model.bin" in names_in(hub.find_checkpoint("name", None, Silent()).folder)
    assert "optimizer.pt" not in served.served


def test_a_revision_is_the_one_that_is_downloaded(served: Hub):
    served.models["owner/name"] = {COMMIT: files_of("model.safetensors"), OLDER: {"config.json": b"old"}}
    source = hub.find_checkpoint("owner/name", OLDER, Silent())
    assert source.revision == OLDER
    assert (source.folder / "config.json").read_bytes() == b"old"


def test_an_unknown_revision_is_named(served: Hub):
    served.models["owner/name"] = {COMMIT: files_of("model.safetensors")}
    with pytest.raises(CheckpointError, match="no revision 'nope'"):
        hub.find_checkpoint("owner/name", "nope", Silent())


def test_an_unknown_model_is_refused_with_the_ways_out(served: Hub):
    with pytest.raises(CheckpointError) as refused:
        hub.find_checkpoint("owner/mistyped", None, Silent())
    sentence = str(refused.value)
    assert "owner/mistyped" in sentence
    assert all(way in sentence for way in ("log in", "folder", "--random-weights"))


def test_a_gated_model_asks_to_accept_and_log_in(served: Hub):
    served.models["owner/gated"] = {COMMIT: files_of("model.safetensors")}
    served.gated.add("owner/gated")
    with pytest.raises(CheckpointError, match=r"gated.*log in"):
        hub.find_checkpoint("owner/gated", None, Silent())


def test_the_token_in_the_environment_is_used(served: Hub, monkeypatch: pytest.MonkeyPatch):
    served.models["owner/gated"] = {COMMIT: files_of("model.safetensors")}
    served.gated.add("owner/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    assert hub.find_checkpoint("owner/gated", None, Silent()).folder.is_dir()
    assert served.tokens == {"Bearer hf_of_a_test"}


def test_without_network_the_cache_serves(served: Hub, monkeypatch: pytest.MonkeyPatch):
    served.models["owner/name"] = {COMMIT: files_of("model.safetensors")}
    online = hub.find_checkpoint("owner/name", None, Silent())
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert hub.find_checkpoint("owner/name", None, Silent()) == online
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.find_checkpoint("owner/name", None, Silent()) == online


def test_a_hub_that_fails_is_no_hub(served: Hub):
    served.models["owner/name"] = {COMMIT: files_of("model.safetensors")}
    online = hub.find_checkpoint("owner/name", None, Silent())
    served.broken = True
    assert hub.find_checkpoint("owner/name", None, Silent()) == online


def test_without_network_and_cache_there_are_three_ways_out(served: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError) as refused:
        hub.find_checkpoint("roberta-base", None, Silent())
    sentence = str(refused.value)
    assert all(way in sentence for way in ("Go online", "folder", "--random-weights"))
    assert "Traceback" not in sentence and "\n" not in sentence


@pytest.mark.parametrize("name", ["./models/mine", "/srv/models/mine", "~/mine", "models/mine/", "a/b/c", "..\\mine"])
def test_what_looks_like_a_path_never_reaches_the_hub(name: str, served: Hub):
    with pytest.raises(CheckpointError, match="no folder"):
        hub.find_checkpoint(name, None, Silent())
    assert served.served == []


def test_a_file_is_not_a_checkpoint(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file"):
        hub.find_checkpoint(str(tmp_path / "model.safetensors"), None, Silent())


def test_an_impossible_id_is_refused(served: Hub):
    with pytest.raises(CheckpointError, match="possible hub id"):
        hub.find_checkpoint("owner/na me", None, Silent())


def test_a_local_folder_needs_no_hub(tmp_path: Path, served: Hub):
    source = hub.find_checkpoint(str(tmp_path), None, Silent())
    assert (source.folder, source.id, source.revision) == (tmp_path, tmp_path.name, None)


def test_a_prepared_cache_serves_with_the_environment_of_a_service(tmp_path: Path):
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    root = tmp_path / "hub" / "models--owner--name"
    (root / "snapshots" / COMMIT).mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    (root / "snapshots" / COMMIT / "config.json").write_text("{}")
    code = (
        "from bvx.exporter.checkpoint.hub import find_checkpoint\n"
        "from bvx.exporter.progress import Silent\n"
        "print(find_checkpoint('owner/name', None, Silent()).revision)\n"
        "try:\n    find_checkpoint('owner/other', None, Silent())\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        environment.pop(name, None)
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    first, second = said.stdout.strip().splitlines()
    assert first == COMMIT
    assert second.startswith("CheckpointError owner/other is not in the cache")
    assert "HF_HUB_OFFLINE" in second and "--random-weights" in second
