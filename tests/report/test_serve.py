"""`lipscore serve` over HTTP: what it takes, what it refuses, and that nothing stays behind."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipscore import Models
from lipscore.demo.clips import render_clip
from lipscore.errors import MissingError, UsageError
from lipscore.eval.serve.intake import RefusedError, Taken, container_of, shown_name, take_below, videos_below
from lipscore.eval.serve.jobs import Job, Queue
from lipscore.eval.serve.options import ServeOptions
from lipscore.eval.serve.run import hosts_of
from lipscore.eval.serve.work import analyse
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.media.write import write_video
from lipscore.syncnet.protocols import PROTOCOLS

uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")


@dataclass
class Server:
    """A running server: its port, and the folder that its jobs lie in."""

    port: int
    folder: Path

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, the JSON or the bytes) of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        named = {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        is_json = named.get("content-type", "") == "application/json"
        return answer.status, named, json.loads(content) if is_json else content

    def send(self, name: str, content: bytes, headers: dict[str, str] | None = None, **fields: str) -> tuple[int, Any]:
        """Send a file as a form does."""
        parts = [
            f'--X\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        ]
        if name:
            head = f'--X\r\nContent-Disposition: form-data; name="video"; filename="{name}"\r\n\r\n'
            parts.append(head.encode() + content + b"\r\n")
        kind = {"Content-Type": "multipart/form-data; boundary=X"}
        status, _, answer = self.ask("POST", "/api/analyze", b"".join(parts) + b"--X--\r\n", kind | (headers or {}))
        return status, answer

    @property
    def left(self) -> list[str]:
        """The files of jobs that are on disk."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]


Start = Callable[..., Server]


@contextmanager
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Models) -> Iterator[Start]:
    """A function that starts a server with options; all end with the block, and leave nothing."""
    from lipscore.eval.serve.app import build

    running: list[tuple[Any, threading.Thread]] = []
    folder = tmp_path / "jobs"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    def started(**given: Any) -> Server:
        options = ServeOptions(port=0, **given)
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = build(Setup(PROTOCOLS["wav2lip"], models), options, None if options.token else [f"127.0.0.1:{port}"])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread))
        return Server(port, folder)

    yield started
    for server, thread in running:
        server.should_exit = True
        thread.join()
    assert list(folder.iterdir()) == []


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini_models: Models) -> Iterator[Start]:
    with servers(tmp_path, monkeypatch, mini_models) as function:
        yield function


@pytest.fixture(scope="module")
def short_video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video of two frames, which ends as too_short or no_audio at once."""
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    write_video(path, iter([np.zeros((64, 64, 3), np.uint8)] * 2), 25)
    return path.read_bytes()


def test_status_has_the_keys_of_its_contract(start: Start) -> None:
    status, headers, answer = start().ask("GET", "/api/status")
    assert status == 200
    assert {"status": "ok", "pretrained_available": False, "model": "mini", "waiting": 0}.items() <= answer.items()
    assert "version" in answer
    assert (
        "default-src 'none'" in headers["content-security-policy"]
        and "unsafe" not in headers["content-security-policy"]
    )
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_and_the_api_are_described(start: Start) -> None:
    server = start()
    _, _, page = server.ask("GET", "/")
    assert b"Is it in sync?" in page and b"<script src=" in page and b"style=" not in page
    for name in ("page.css", "panel.js", "serve.css", "serve.js"):
        status, headers, _ = server.ask("GET", f"/static/{name}")
        assert status == 200 and headers["content-type"].startswith("text/")
    assert server.ask("GET", "/static/..%2fapp.py")[0] == 404
    _, _, described = server.ask("GET", "/openapi.json")
    assert {"/api/status", "/api/analyze", "/api/jobs/{id}", "/api/jobs/{id}/events"} <= set(described["paths"])
    assert server.ask("GET", "/docs")[0] == 404


@pytest.mark.parametrize(
    ("name", "content", "fields", "status", "reason"),
    [
        ("notes.txt", b"hello", {}, 400, "notes.txt: is not a video file"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n", {}, 400, "is not a video file"),
        ("empty.mp4", b"", {}, 400, "is not a video file"),
        ("../../etc/x.mp4", b"hello", {}, 400, "the file's name contains a path"),
        ("..", b"hello", {}, 400, "the file's name contains a path"),
        ("", b"", {}, 400, "the request has no video"),
        ("", b"", {"file": "../secret.mp4"}, 400, "the request has no video"),
        ("v.mp4", b"hello", {"window_size": "1000"}, 400, "window_size"),
        ("cut.mp4", b"\0\0\0\x18ftypisom" + bytes(100), {}, 400, "media_error: cut.mp4: no readable media file"),
    ],
)
def test_what_is_no_video_is_refused_and_leaves_nothing(
    start: Start, name: str, content: bytes, fields: dict[str, str], status: int, reason: str
) -> None:
    server = start()
    got, answer = server.send(name, content, None, **fields)
    assert (got, answer["success"]) == (status, False)
    assert reason in answer["error"]
    assert str(server.folder) not in json.dumps(answer)
    assert server.left == []


def test_a_large_upload_is_refused_before_it_is_sent(start: Start) -> None:
    server = start(max_mb=1)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /api/analyze HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 2000000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    assert server.left == []


def test_a_large_upload_of_unknown_length_is_refused_on_the_way(start: Start) -> None:
    server = start(max_mb=1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = (
            f"POST /api/analyze HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: multipart/form-data; boundary=X\r\n\r\n"
        )
        start_of_file = b'--X\r\nContent-Disposition: form-data; name="video"; filename="v.mp4"\r\n\r\n'
        connection.sendall(head.encode() + f"{len(start_of_file):x}\r\n".encode() + start_of_file + b"\r\n")
        sent = 0
        try:
            while sent < 50:
                connection.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
                sent += 1
        except OSError:
            pass
        assert sent < 50 or connection.recv(1000).startswith(b"HTTP/1.1 413")
    assert server.left == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
    ],
)
def test_requests_of_other_origins_are_refused(start: Start, short_video: bytes, headers: dict[str, str]) -> None:
    server = start()
    status, answer = server.send("v.mp4", short_video, headers)
    assert (status, answer["success"]) == (403, False)
    assert server.left == []


def test_its_own_page_may_send(start: Start, short_video: bytes) -> None:
    server = start()
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"}
    status, answer = server.send("v.mp4", short_video, own)
    assert status == 400 and answer["record"]["status"] in ("too_short", "no_audio", "no_track")


def test_a_token_is_asked_for_and_taken_three_ways(start: Start) -> None:
    server = start(token="s3cret")
    assert server.ask("GET", "/api/status")[0] == 401
    assert server.ask("GET", "/?token=wrong")[0] == 401
    assert server.ask("GET", "/api/status", headers={"Authorization": "Bearer s3cret"})[0] == 200
    status, headers, _ = server.ask("GET", "/?token=s3cret")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert server.ask("GET", "/api/status", headers={"Cookie": cookie.partition(";")[0]})[0] == 200


def test_twenty_uploads_at_once_are_queued_and_all_end(start: Start, short_video: bytes) -> None:
    server = start()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: server.send(f"v{number}.mp4", short_video), range(20)))
    assert [status for status, _ in answers] == [400] * 20
    assert [answer["video_name"] for _, answer in answers] == [f"v{number}.mp4" for number in range(20)]
    assert server.left == []


def test_a_full_queue_says_so(start: Start, short_video: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr("lipscore.eval.serve.app._analyse", lambda job, setup: (go.wait(), job.tell(state="failed")))
    server = start(max_waiting=2)
    accepted = [server.send("v.mp4", short_video, wait="false") for _ in range(2)]
    assert [status for status, _ in accepted] == [202, 202]
    assert server.ask("GET", f"/api/jobs/{accepted[1][1]['id']}")[2]["ahead"] == 1
    status, answer = server.send("v.mp4", short_video)
    assert status == 503 and "2 videos are already waiting" in answer["error"]
    go.set()


def test_jobs_go_when_they_are_removed_or_too_old(start: Start, short_video: bytes) -> None:
    server = start(keep_seconds=1)
    kept, removed = (server.send("v.mp4", short_video, wait="false")[1]["id"] for _ in range(2))
    assert server.ask("DELETE", f"/api/jobs/{removed}")[0] == 200
    assert server.ask("GET", f"/api/jobs/{removed}")[0] == 404
    end = time.monotonic() + 60
    while server.ask("GET", f"/api/jobs/{kept}")[0] != 404:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert server.left == []


def test_work_that_takes_too_long_is_broken_off(
    start: Start, short_video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(job: Any, setup: Setup) -> None:
        while True:
            job.stop.check()
            time.sleep(0.01)

    monkeypatch.setattr("lipscore.eval.serve.app._analyse", endless)
    status, answer = start(max_seconds=0.3).send("v.mp4", short_video)
    assert (status, answer["error"]) == (408, "it took longer than 0.3 s; --max-seconds is the limit")


def test_mending_that_takes_too_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that the job was removed, which is the other reason for breaking off."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    queue = Queue(1, 60, 0.2)
    job = queue.new()
    job.tell(state="done", mending="queued")

    def endless(job: Job) -> None:
        while True:
            job.stop.check()
            time.sleep(0.01)

    queue.submit(job, endless)
    end = time.monotonic() + 10
    while job.busy and time.monotonic() < end:
        time.sleep(0.02)
    queue.close()
    assert (job.state, job.mending) == ("done", "failed") and job.mended is not None
    assert job.mended.message == "it took longer than 0.2 s; --max-seconds is the limit"


def test_a_browser_leaves_out_the_port_of_http() -> None:
    assert "localhost" in hosts_of("127.0.0.1", 80) and "localhost:80" in hosts_of("127.0.0.1", 80)
    assert all(host.endswith(":8000") for host in hosts_of("127.0.0.1", 8000))


def test_an_answer_names_no_path_of_the_server(tmp_path: Path, mini_models: Models) -> None:
    path = tmp_path / "video.mp4"
    render_clip(path, seed=3, seconds=1.6, size=(224, 224))
    told = analyse(
        Taken(path, "talk.mp4", ".mp4"), Setup(PROTOCOLS["wav2lip-lrs"], mini_models), Stop(), lambda _: None
    )
    assert told.reply["success"] and told.reply["long_range"]["video"] == "talk.mp4"
    assert str(tmp_path) not in json.dumps([told.reply, told.page])


def test_only_listed_videos_of_the_folder_are_taken(tmp_path: Path, short_video: bytes) -> None:
    folder = tmp_path / "videos"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "v.mp4").write_bytes(short_video)
    (folder / "fake.mp4").write_bytes(b"#EXTM3U")
    (tmp_path / "secret.mp4").write_bytes(short_video)
    (folder / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    assert "a/v.mp4" in videos_below(folder)
    assert take_below(folder, "a/v.mp4").name == "v.mp4"
    for name in ("../secret.mp4", str(tmp_path / "secret.mp4"), "out.mp4", "a", "none.mp4"):
        with pytest.raises(RefusedError, match="no video of this name"):
            take_below(folder, name)
    with pytest.raises(RefusedError, match="is not a video file"):
        take_below(folder, "fake.mp4")


def test_containers_are_told_by_their_signatures(tmp_path: Path) -> None:
    frames = [np.zeros((64, 64, 3), np.uint8)] * 3
    for suffix in (".mp4", ".mov", ".mkv"):
        path = tmp_path / f"v{suffix}"
        write_video(path, iter(frames), 25)
        assert container_of(path.read_bytes()[:1024]) == suffix
    for head in (
        b"",
        b"hello",
        b"#EXTM3U",
        b"ffconcat version 1.0",
        b"<svg",
        b"RIFF\0\0\0\0WAVE",
        b"\x89PNG\r\n\x1a\n",
    ):
        assert container_of(head) is None


def test_names_are_shown_and_never_trusted() -> None:
    assert shown_name("héllo <b>.mp4") == "héllo <b>.mp4"
    assert shown_name("a\x1b[31mb\n.mp4") == "a_[31mb_.mp4"
    assert shown_name(None) == "video"
    assert len(shown_name("x" * 5000)) == 200
    for name in ("../a.mp4", "a/b.mp4", "C:\\a.mp4", ".."):
        with pytest.raises(RefusedError):
            shown_name(name)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="max_mb = 0: must be more than 0"):
        ServeOptions(max_mb=0)
    with pytest.raises(UsageError, match="port"):
        ServeOptions(port=70000)
    with pytest.raises(MissingError, match="no such folder"):
        ServeOptions(folder=tmp_path / "none")
    hosts = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")
    assert [ServeOptions(host=host).loopback for host in hosts] == [True, True, True, False, False]
