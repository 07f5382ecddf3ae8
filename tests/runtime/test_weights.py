"""Weight files: fetched from a real server on loopback, which also lies, breaks off and goes away."""

from __future__ import annotations

import hashlib
import http.server
import io
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lipscore.errors import UsageError, WeightsError
from lipscore.weights import fetch as fetch_module
from lipscore.weights.catalogue import S3FD, SYNCNET, Published, WeightFile
from lipscore.weights.fetch import (
    Search,
    by_hand,
    fetch,
    find,
    listing,
    load_state_dict,
    obtain,
)

NAME = "toy.pth"


def toy_content() -> bytes:
    buffer = io.BytesIO()
    torch.save({"layer.weight": torch.arange(300_000, dtype=torch.float32), "layer.bias": torch.ones(3)}, buffer)
    return buffer.getvalue()


CONTENT = toy_content()


class Handler(http.server.BaseHTTPRequestHandler):
    """/good: the file, with ranges; /whole: without; /cut: a third of what is asked for; /wrong: other bytes."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.log.append((self.path, asked))  # type: ignore[attr-defined]
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path != "/whole" else 0
        body = (bytes(len(CONTENT)) if self.path == "/wrong" else CONTENT)[first:]
        if self.path == "/long":
            body = CONTENT + b"more"
        if self.path == "/page":
            body = b"<html>sign in</html>"
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/slow":
            time.sleep(0.5)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 3] if self.path == "/cut" and len(body) > 1000 else body)

    def log_message(self, *args: object) -> None:
        pass


class Server:
    def __init__(self) -> None:
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.log: list[tuple[str, str | None]] = []
        self.http.log = self.log  # type: ignore[attr-defined]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def search(self, cache: Path, *paths: str) -> Search:
        return Search(cache, catalogue=catalogue(*(f"http://127.0.0.1:{self.http.server_port}/{p}" for p in paths)))


def held(name: str, search: Search) -> WeightFile:
    file = find(name, search)
    assert file is not None
    return file


def catalogue(*urls: str) -> dict[str, Published]:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return {NAME: Published(NAME, "a toy", len(CONTENT), sha256, urls, "none")}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def test_fetches_verifies_and_leaves_nothing_but_the_file(server: Server, tmp_path: Path) -> None:
    search = server.search(tmp_path / "cache", "good")
    seen: list[tuple[str, int, int]] = []
    file = fetch(NAME, search, lambda *step: seen.append(step))
    assert file.path.read_bytes() == CONTENT
    assert file.verified
    assert seen[-1] == (NAME, len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert {p.name for p in (tmp_path / "cache").iterdir()} <= {NAME, f".{NAME}.lock"}
    state = load_state_dict(file, search)
    assert torch.equal(state["layer.weight"], torch.arange(300_000, dtype=torch.float32))


def test_a_verified_file_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    search = server.search(tmp_path, "good")
    fetch(NAME, search)
    fetch(NAME, search)
    assert len(server.log) == 1


def test_a_spoilt_file_in_the_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"spoilt")
    search = server.search(tmp_path, "good")
    assert not held(NAME, search).verified
    assert fetch(NAME, search).verified
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["wrong", "long", "page", "gone"])
def test_a_wrong_download_never_gets_the_published_name(server: Server, tmp_path: Path, bad: str) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(NAME, server.search(tmp_path, bad))
    message = str(caught.value)
    assert f"/{bad}" in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    assert str(tmp_path / NAME) in message
    if bad == "wrong":
        assert hashlib.sha256(bytes(len(CONTENT))).hexdigest() in message
    assert {p.name for p in tmp_path.iterdir()} <= {f".{NAME}.lock"}


def test_the_next_source_is_tried(server: Server, tmp_path: Path) -> None:
    assert fetch(NAME, server.search(tmp_path, "gone", "wrong", "good")).verified
    assert [path for path, _ in server.log] == ["/gone", "/wrong", "/good"]


def test_a_broken_download_is_resumed_by_the_next_source(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="broke off"):
        fetch(NAME, server.search(tmp_path, "cut"))
    left = next(tmp_path.glob("*.part")).stat().st_size
    assert 0 < left < len(CONTENT)
    server.log.clear()
    assert fetch(NAME, server.search(tmp_path, "gone", "good")).path.read_bytes() == CONTENT
    assert server.log[-1] == ("/good", f"bytes={left}-")


def test_a_source_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        fetch(NAME, server.search(tmp_path, "cut"))
    assert fetch(NAME, server.search(tmp_path, "whole")).path.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1000, len(CONTENT)])
def test_a_part_of_something_else_is_thrown_away(server: Server, tmp_path: Path, size: int) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    (tmp_path / f".{NAME}.{sha256[:12]}.part").write_bytes(b"x" * size)
    assert fetch(NAME, server.search(tmp_path, "good")).path.read_bytes() == CONTENT


def test_an_unreachable_server_gives_instructions(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    search = Search(tmp_path, catalogue=catalogue(f"http://127.0.0.1:{port}/good"))
    with pytest.raises(WeightsError, match="refused") as caught:
        fetch(NAME, search)
    assert by_hand(search.published(NAME), search) in str(caught.value)
    assert caught.value.exit_status == 3


def test_a_server_that_never_answers_does_not_hold_a_run_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(fetch_module, "PATIENCE_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        search = Search(tmp_path, catalogue=catalogue(*(f"{url}{n}" for n in range(9))))
        with pytest.raises(WeightsError) as caught:
            fetch(NAME, search)
    assert str(caught.value).count(url) <= 3  # two sources, and the one named for doing it by hand


def test_offline_opens_no_connection(server: Server, tmp_path: Path) -> None:
    online = server.search(tmp_path, "good")
    with pytest.raises(WeightsError, match="LIPSCORE_OFFLINE"):
        fetch(NAME, Search(tmp_path, offline=True, catalogue=online.catalogue))
    assert server.log == []


def test_an_unwritable_cache_is_reported(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch(NAME, server.search(tmp_path / "file" / "cache", "good"))


def _fetch_in_child(search: Search) -> bool:
    return fetch(NAME, search).verified


def test_two_processes_fetch_once(server: Server, tmp_path: Path) -> None:
    search = server.search(tmp_path, "slow")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_fetch_in_child, [search, search], chunksize=1) == [True, True]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [path for path, _ in server.log] == ["/slow"]


def test_search_order(tmp_path: Path) -> None:
    for folder in ("option", "variable", "xdg/lipscore"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / SYNCNET).write_text(folder)
    environment = {"LIPSCORE_WEIGHTS": str(tmp_path / "variable"), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    search = Search.from_environment(tmp_path / "option", environment)
    for folder in ("option", "variable", "xdg/lipscore"):
        found = held(SYNCNET, search)
        assert found.path == tmp_path / folder / SYNCNET
        assert (found.sha256, found.verified) == (hashlib.sha256(folder.encode()).hexdigest(), False)
        found.path.unlink()
    assert find(SYNCNET, search) is None
    assert [(published.name, found) for published, found in listing(search)] == [
        (SYNCNET, None),
        (S3FD, None),
    ]


def test_the_environment_sets_folders_and_offline_mode(tmp_path: Path) -> None:
    assert Search.from_environment(None, {"XDG_CACHE_HOME": "relative"}).cache == Path.home() / ".cache" / "lipscore"
    assert Search.from_environment(None, {"LIPSCORE_OFFLINE": "1"}).offline
    assert not Search.from_environment(None, {"LIPSCORE_OFFLINE": "0"}).offline
    with pytest.raises(WeightsError, match="weights_dir"):
        Search.from_environment(tmp_path / "nowhere", {})
    with pytest.raises(WeightsError, match="LIPSCORE_WEIGHTS"):
        Search.from_environment(None, {"LIPSCORE_WEIGHTS": str(tmp_path / "nowhere")})


def test_unverified_is_refused_with_both_hashes_unless_allowed(tmp_path: Path) -> None:
    search = Search(tmp_path, catalogue=catalogue("http://127.0.0.1:9/"))
    torch.save({"other": torch.zeros(2)}, tmp_path / NAME)
    file = held(NAME, search)
    with pytest.raises(WeightsError) as caught:
        load_state_dict(file, search)
    assert file.sha256 in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert list(load_state_dict(file, search, allow_unverified=True)) == ["other"]


def test_a_file_replaced_after_hashing_is_refused(tmp_path: Path) -> None:
    search = Search(tmp_path, catalogue=catalogue("http://127.0.0.1:9/"))
    (tmp_path / NAME).write_bytes(CONTENT)
    file = obtain(NAME, search)
    assert file.verified
    (tmp_path / NAME).write_bytes(CONTENT + b"x")
    with pytest.raises(WeightsError, match="is not the published"):
        load_state_dict(file, search)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run from a weight file",))


@pytest.mark.parametrize("content", [b"", b"not weights", Evil(), [torch.zeros(2)], {"a": 1}])
def test_only_tensors_are_loaded(tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search(tmp_path, catalogue=catalogue("http://127.0.0.1:9/"))
    if isinstance(content, bytes):
        (tmp_path / NAME).write_bytes(content)
    else:
        torch.save(content, tmp_path / NAME)
    with pytest.raises(WeightsError, match=NAME):
        load_state_dict(held(NAME, search), search, allow_unverified=True)
    assert capsys.readouterr().out == ""


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"other\.pth"):
        find("other.pth", Search(tmp_path))


def test_kit_weights_are_not_the_published_ones(kit_weights: Path) -> None:
    files = [found for _, found in listing(Search(kit_weights))]
    assert [file.verified for file in files if file is not None] == [False, False]
