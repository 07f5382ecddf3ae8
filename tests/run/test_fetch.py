"""Videos from a manifest and from URLs: fetched, scored as the local file is, and removed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lipscore.errors import LipscoreError, MissingError, UsageError
from lipscore.eval.options import InputOptions, ModelOptions, OutputOptions, ProtocolOptions, Request, RunOptions
from lipscore.eval.run.batch import run_batch
from lipscore.eval.run.floor import Kept, of_run
from lipscore.eval.run.inputs.fetch import fetched, listed, path_of, restored, url_of
from lipscore.eval.run.inputs.listing import read_manifest
from lipscore.eval.run.inputs.paths import collect
from lipscore.eval.run.jobs import Job, Silent
from lipscore.eval.setup import Setup, load_models
from lipscore.eval.store.records import Record
from lipscore.media import read, write
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import GivenSound, VideoScore


def test_a_url_that_was_a_path_is_a_url_again() -> None:
    for url in ("s3://bucket/a/b.mp4", "gs://b/c.mp4", "https://host/a.mp4?x=1"):
        assert url_of(Path(url)) == url == url_of(url)
    assert [url_of(path) for path in ("videos/s3.mp4", "/s3:/a.mp4", "s3", "c:/a.mp4")] == [""] * 4
    assert path_of("https://host/some%20name.mp4?token=1/2").name == "some name.mp4"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("name\na\n", UsageError, "no column video"),
        ("video,speaker\na.mp4,x\n", UsageError, "speaker"),
        ("video\n", MissingError, "no video"),
        ("video,name\n,x\n", UsageError, "line 2 names no video"),
        ("video\na.mp4,b\n", UsageError, "line 2 has more cells"),
        ("video\na/c.mp4\nb/c.mp4\n", UsageError, "lines 2 and 3 are both named c"),
    ],
)
def test_a_wrong_manifest_is_an_error_that_says_where(
    tmp_path: Path, text: str, kind: type[LipscoreError], said: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(kind, match=said):
        read_manifest(path)
    with pytest.raises(MissingError, match="cannot be read"):
        read_manifest(tmp_path / "none.csv")


def test_a_manifest_names_files_beside_it_and_urls(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    path = tmp_path / "list.csv"
    path.write_text(
        "video,reference,name,group,audio\na.mp4,r/a.mp4,first,ours,\ns3://b//k/c.mp4?v=1,https://h/r.mp4,,,gs://b/s.wav\n"
        "b.mp4,,,,\na.mp4,,second,,a.mp4\na.mp4,,third,,gone.wav\n"
    )
    first, second, third, fourth, fifth = read_manifest(path)
    assert (first.path, first.reference, first.name, first.url) == (
        tmp_path / "a.mp4",
        tmp_path / "r" / "a.mp4",
        "first",
        "",
    )
    assert (second.url, second.reference_url, second.name) == ("s3://b//k/c.mp4?v=1", "https://h/r.mp4", "c")
    assert [job.folder for job in (first, second, third)] == ["ours", "", ""]
    assert (third.problem, third.reference, third.audio) == ("no such file", None, None)
    assert (second.audio_url, second.problem, first.audio_url, first.audio) == ("gs://b/s.wav", "", "", None)
    assert (fourth.audio, fourth.problem) == (tmp_path / "a.mp4", "")
    assert fifth.problem == f"its audio {tmp_path / 'gone.wav'} is not there"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="fsspec's http needs aiohttp: pip install 'lipscore[remote]'")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "clip.mp4").write_bytes(b"video")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_url_is_fetched_named_in_the_record_and_removed(served: str) -> None:
    (found,) = collect([Path(f"{served}/clip.mp4")])
    job = Job(found.path, found.name, url=found.url)
    assert (job.where, job.name) == (f"{served}/clip.mp4", "clip")
    with fetched(job) as local:
        assert local.path.read_bytes() == b"video" and not local.problem
        score = VideoScore(str(local.path), "clip", "", "media_error", f"{local.path}: bad", "wav2lip", "mini", False)
        record = restored(Record(score), job, local)
    assert not local.path.exists()
    assert (record.score.video, record.score.reason) == (job.where, f"{job.where}: bad")
    with fetched(Job(Path("x.mp4"), "x", url=f"{served}/none.mp4")) as missing:
        assert missing.problem.startswith("cannot be fetched (FileNotFoundError")
    with fetched(Job(found.path, "x", url=found.url, reference_url=f"{served}/no.mp4")) as half:
        assert half.problem.startswith(f"its reference {served}/no.mp4 cannot be fetched")
    with fetched(Job(Path("here.mp4"), "x", audio=Path("clip.mp4"), audio_url=f"{served}/clip.mp4")) as heard:
        assert heard.path == Path("here.mp4") and heard.audio is not None and heard.audio.read_bytes() == b"video"
        score = replace(score, audio=GivenSound(str(heard.audio), "ab"))
        record = restored(Record(score), Job(Path("x"), "x", audio_url=f"{served}/clip.mp4"), heard)
    assert not heard.audio.exists() and record.score.audio == GivenSound(f"{served}/clip.mp4", "ab")
    with fetched(Job(Path("x.mp4"), "x", audio_url=f"{served}/no.wav")) as deaf:
        assert deaf.problem.startswith(f"its audio {served}/no.wav cannot be fetched")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """fsspec's file system of an S3 server on this machine, with an empty bucket `clips`."""
    why = "an S3 server needs moto, Flask and s3fs: pip install 'moto[s3]' flask flask-cors s3fs"
    server_of = pytest.importorskip("moto.server", reason=why)
    s3fs = pytest.importorskip("s3fs", reason=why)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("clips")
    yield files
    files.rm("clips", recursive=True)  # the server's content outlives it
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("on", ["threads", "ray"])
def test_what_lies_in_a_bucket_is_scored_as_the_same_files_here(
    bucket: Any, talk: Path, tmp_path: Path, on: str
) -> None:
    """A prefix that stands for its videos, a manifest with a sound from the bucket, and what is not there."""
    if on == "ray":
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'lipscore[ray]'")
    sound = tmp_path / "speech.wav"
    write.write_wav(sound, read.read_pcm(talk), 16000)
    for name in ("a/talk.mp4", "a/deep/talk.mp4"):
        bucket.put(str(talk), f"clips/{name}")
    bucket.put(str(sound), "clips/speech.wav")
    bucket.pipe("clips/a/notes.txt", b"no video")
    assert listed("s3://clips/a") == ["s3://clips/a/deep/talk.mp4", "s3://clips/a/talk.mp4"]
    with pytest.raises(MissingError, match="contains no video"):
        collect([Path("s3://clips/none")])

    rows = ["video,audio,name", f"{talk},{sound},here", "s3://clips/a/talk.mp4,s3://clips/speech.wav,there"]
    rows += ["s3://clips/a/gone.mp4,,gone", "s3://clips/a/talk.mp4,s3://clips/gone.wav,deaf"]
    manifest = tmp_path / "list.csv"
    manifest.write_text("\n".join(rows) + "\n")

    def ran(inputs: InputOptions, out: Path) -> list[VideoScore]:
        request = Request(
            inputs,
            ProtocolOptions("lipscore-1"),
            ModelOptions(model="mini", device="cpu"),
            run=RunOptions(on=on, workers=2),
            output=OutputOptions(out, out / "all_scores.txt"),
        )
        return [record.score for record in run_batch(request, Silent()).outcome.records]

    here, there, gone, deaf = ran(InputOptions((), manifest=manifest), tmp_path / "list")
    assert (here.status, there.status, there.tracks, there.sha256) == ("ok", "ok", here.tracks, here.sha256)
    assert (there.video, there.audio and there.audio.path) == ("s3://clips/a/talk.mp4", "s3://clips/speech.wav")
    assert gone.status == deaf.status == "media_error" and "cannot be fetched" in gone.reason
    assert "its audio s3://clips/gone.wav cannot be fetched" in deaf.reason
    both = ran(InputOptions((Path("s3://clips/a"),)), tmp_path / "all")
    assert [score.video for score in both] == ["s3://clips/a/deep/talk.mp4", "s3://clips/a/talk.mp4"]
    assert [score.tracks for score in both] == [here.tracks] * 2  # the speech is the talk's own sound


def test_a_floor_fetches_what_an_earlier_run_scored_without_it(served: str, tmp_path: Path) -> None:
    (found,) = collect([Path(f"{served}/clip.mp4")])
    job = Job(found.path, "clip", url=found.url)
    seen: list[bytes] = []

    def score(local: Job, sha256: str) -> VideoScore:
        seen.append(local.path.read_bytes())
        return VideoScore(str(local.path), "clip", sha256, "ok", "", "wav2lip", "mini", False)

    kept = Kept(tmp_path, "s")
    held = [Record(VideoScore(job.where, "clip", "ab", "ok", "", "wav2lip", "mini", False))]
    with pytest.raises(UsageError, match="--floor: 0 of 0"):  # what is scored here keeps nothing to measure
        of_run(held, [job], kept, score, Setup(PROTOCOLS["wav2lip"], load_models("mini", device="cpu")), Silent())
    assert seen == [b"video"]
