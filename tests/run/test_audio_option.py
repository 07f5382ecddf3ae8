"""`score --audio`: which sound is whose, what the records say of it, and what is scored again when it changes."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lipscore import Models
from lipscore.demo.clips import render_clip
from lipscore.errors import MissingError, UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.options import InputOptions, ModelOptions, OutputOptions, ProtocolOptions, Request, RunOptions
from lipscore.eval.run.batch import AUDIO, Ran, find_jobs, run_batch
from lipscore.eval.run.inputs.partners import partners
from lipscore.eval.run.inputs.paths import collect
from lipscore.eval.run.jobs import Job, Piece, Silent
from lipscore.eval.run.pieces import score_piece
from lipscore.eval.scorer import Scorer
from lipscore.eval.setup import Setup
from lipscore.eval.store.records import as_csv, read_records
from lipscore.media import ffmpeg, read, write
from lipscore.syncnet.protocols import PROTOCOLS, change
from lipscore.types import whose

PUBLISHED = ("wav2lip", "joonson", "wav2lip-lrs", "mochabench", "latentsync")


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def matched(inputs: Path, place: Path) -> dict[str, str]:
    found = partners(collect([inputs], [place]), place, AUDIO)
    return {str(a.relative_to(inputs)): str(b.relative_to(place)) for a, b in found.items()}


def jobs_of(inputs: Path, audio: Path | None, **run: Any) -> list[Job]:
    return find_jobs(InputOptions((inputs,), audio=audio), ModelOptions(), RunOptions(**run), PROTOCOLS["mochabench"])


def test_a_sound_has_the_videos_path_or_stem_or_is_its_speech(tmp_path: Path) -> None:
    inputs = touched(tmp_path / "in", "x/a.mp4", "x/b.mp4", "y/b.mp4", "c.mp4", "d.mp4", "d_speech.mp4")
    sounds = touched(
        tmp_path / "wav",
        *("x/a_speech.wav", "x/b_speech.wav", "y/b.FLAC", "deep/c_speech.mp3"),
        *("d.wav", "d_speech.wav", "e.wav", "x/a.txt"),
    )
    assert matched(inputs, sounds) == {
        "x/a.mp4": "x/a_speech.wav",  # MoChaBench's speeches/CATEGORY/NAME_speech.wav
        "x/b.mp4": "x/b_speech.wav",
        "y/b.mp4": "y/b.FLAC",
        "c.mp4": "deep/c_speech.mp3",
        "d.mp4": "d.wav",
        "d_speech.mp4": "d_speech.wav",
    }


def test_a_sound_may_lie_beside_its_video_and_no_video_is_its_own(tmp_path: Path) -> None:
    inputs = touched(tmp_path / "in", "a.mp4", "a.wav", "b.mp4", "b_speech.wav", "c.mp4")
    assert matched(inputs, inputs) == {"a.mp4": "a.wav", "b.mp4": "b_speech.wav"}
    touched(tmp_path / "in", "a.flac")
    with pytest.raises(UsageError, match=r"a\.mp4: more than one sound fits: .*a\.flac and .*a\.wav"):
        matched(inputs, inputs)


def test_a_folder_of_videos_that_are_only_heard_is_not_scored(tmp_path: Path) -> None:
    inputs = touched(tmp_path / "in", "a.mp4", "driving/a.mp4")
    (job,) = jobs_of(inputs, inputs / "driving")
    assert (job.path, job.audio) == (inputs / "a.mp4", inputs / "driving" / "a.mp4")


def test_a_video_without_a_sound_is_never_scored_with_its_own(tmp_path: Path) -> None:
    inputs, sounds = touched(tmp_path / "in", "a.mp4", "x/b.mp4"), touched(tmp_path / "wav", "a.wav")
    for shard in (None, "2/2"):
        lone = jobs_of(inputs, sounds, shard=shard)[-1]
        expected = f"{sounds} has no sound for it; add one as {sounds / 'x' / 'b.wav'}"
        assert (lone.problem, lone.audio) == (expected, None)
    with pytest.raises(MissingError, match="contains no sound for any of the 2 videos"):
        jobs_of(inputs, touched(tmp_path / "none", "c.wav"))


def test_the_command_refuses_a_sound_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touched(tmp_path, "a.mp4", "b.mp4", "s.wav")

    def ended(*args: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["score", "a.mp4", "--model", "mini", "--audio", *args])
        return done.exit_code, done.output

    assert ended("gone.wav") == (3, "lipscore: --audio gone.wav: no such file or folder; name an existing one\n")
    status, said = ended("s.wav", "b.mp4")
    assert status == 2 and "a file is for one video, and there are 2; give a folder of sounds" in said
    status, said = ended("https://host/s.wav")
    assert status == 2 and "a manifest's column audio" in said
    (tmp_path / "list.csv").write_text("video\na.mp4\n")
    done = CliRunner().invoke(app, ["score", "--manifest", "list.csv", "--audio", "s.wav"])
    assert done.exit_code == 2 and "leave out INPUT, --reference, --audio" in done.output


def test_only_mochabench_stays_comparable_with_another_sound(
    mini_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Models, "comparable", lambda _, protocol: protocol.published)
    for name in PUBLISHED:
        own = Setup(PROTOCOLS[name], mini_models)
        other = own.hearing(["a.wav", "b.wav"])
        assert own.comparable and other.comparable == (name == "mochabench")
        said = () if name == "mochabench" else (f"audio=given ({name}: own)",)
        assert own.changed == () and other.changed == said == other.blank().changed
        assert "audio" not in own.signature.values and other.signature.values["audio"] == "given"
        assert own.settings() != other.settings() == own.hearing(["a.wav", None]).settings()
        assert own.hearing([None, None]) == own
    changed = Setup(change(PROTOCOLS["mochabench"], {"min_track": 60}), mini_models).hearing(["a.wav"])
    assert not changed.comparable and changed.changed == ("min_track=60 (mochabench: 50)",)
    assert [whose(sounds) for sounds in ((), ("a", None), ("a",))] == ["own", "mixed", "given"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip.mp4, 2.4 seconds of a talking head, its sound, and another's."""
    folder = tmp_path_factory.mktemp("small")
    clip = folder / "clip.mp4"
    render_clip(clip, seed=5, seconds=2.4, size=(224, 224), shift_frames=2)
    write.write_wav(folder / "own.wav", read.read_pcm(clip, 48000), 48000)
    write.write_wav(folder / "late.wav", np.roll(read.read_pcm(clip, 48000), 3 * 1920), 48000)
    return folder


def listed(folder: Path, out: Path, text: str) -> Ran:
    manifest = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.csv"
    manifest.write_text(text)
    request = Request(
        InputOptions((), manifest=manifest),
        ProtocolOptions("lipscore-1"),
        ModelOptions(model="mini", device="cpu"),
        output=OutputOptions(out, out / "all_scores.txt"),
    )
    return run_batch(request, Silent())


def test_a_manifests_sounds_are_scored_named_and_resumed_by_content(small: Path, tmp_path: Path) -> None:
    rows = "video,audio,name\nclip.mp4,,own\nclip.mp4,own.wav,given\nclip.mp4,late.wav,late\nclip.mp4,gone.wav,gone\n"
    ran = listed(small, tmp_path, rows)
    own, given, late, gone = (record.score for record in ran.outcome.records)
    assert (own.status, given.status, late.status) == ("ok", "ok", "ok")
    assert (own.lse_d, own.lse_c, own.tracks) == (given.lse_d, given.lse_c, given.tracks)
    assert own.offset is not None and late.offset == own.offset - 3  # the sound comes 3 frames later
    assert (
        (gone.status, gone.lse_d) == ("media_error", None) and "its audio" in gone.reason and "gone.wav" in gone.reason
    )
    assert own.audio is None and given.audio is not None
    sha256 = hashlib.sha256((small / "own.wav").read_bytes()).hexdigest()
    assert (given.audio.path, given.audio.sha256) == (str(small / "own.wav"), sha256)
    assert (own.changed, given.changed) == ((), ("audio=given (lipscore-1: own)",))
    assert "audio" not in own.signature and "audio:given" in given.signature
    assert ran.made.signature.values["audio"] == "mixed"

    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]  # as they were done
    written = {line["name"]: line["audio"] for line in lines}
    assert written["own"] is None and written["given"] == {"path": str(small / "own.wav"), "sha256": sha256}
    records, problems = read_records(tmp_path / "scores.jsonl")
    named = {record.score.name: record for record in records}
    assert not problems and named["given"].score.audio == given.audio
    cells = list(csv.DictReader(as_csv([named["own"], named["given"]]).decode().splitlines()))
    assert [row["audio"] for row in cells] == ["", str(small / "own.wav")]

    again = listed(small, tmp_path, rows)
    assert again.outcome.resumed == 3
    twin = small / "twin.wav"
    twin.write_bytes((small / "late.wav").read_bytes())
    swapped = listed(small, tmp_path, "video,audio,name\nclip.mp4,twin.wav,given\n")
    assert swapped.outcome.resumed == 1 and swapped.outcome.records[0].score.offset == late.offset


def test_python_scores_against_a_sound(small: Path, mini_models: Models) -> None:
    """Under mochabench a video without audio, and its sound as the decoder gave it, are the whole video."""
    scorer = Scorer(Setup(PROTOCOLS["mochabench"], mini_models))
    mute, sound = small / "mute.mp4", small / "float.wav"
    clip = small / "clip.mp4"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-an", "-c", "copy", str(mute)], clip)
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-vn", "-c:a", "pcm_f32le", str(sound)], clip)
    own, whole = scorer.score(clip), scorer.score(clip, audio=sound)
    assert own.status == "ok" and whole.audio is not None
    assert (whole.lse_d, whole.lse_c, whole.tracks) == (own.lse_d, own.lse_c, own.tracks)
    (apart,) = scorer.score_all(mute, audio=sound)
    assert (apart.status, apart.audio) == ("ok", whole.audio)
    assert scorer.score(mute).status == "no_audio"
    gone = scorer.score(clip, audio=small / "gone.wav")
    assert gone.status == "media_error" and "gone.wav" in gone.reason and gone.lse_d is None


def test_pieces_are_scored_against_the_sound(small: Path, mini_models: Models) -> None:
    clip, sound = small / "clip.mp4", small / "own.wav"
    setup = Setup(PROTOCOLS["lipscore-1"], mini_models)
    asked = InputOptions((clip,), audio=sound)
    jobs = find_jobs(asked, ModelOptions(), RunOptions(chunk=2.2), PROTOCOLS["lipscore-1"])
    assert [job.piece for job in jobs] == [None]  # one piece holds it
    piece = Piece(read.hearing(read.probe(clip), sound), Fraction(0), Fraction(11, 5))
    record = score_piece(replace(jobs[0], piece=piece), piece, setup, "0" * 64)
    alone = score_piece(Job(clip, "clip"), replace(piece, info=read.probe(clip)), setup, "0" * 64)
    assert (record.status, record.tracks) == ("ok", alone.tracks)
    assert record.audio is not None and record.audio.path == str(sound) and alone.audio is None
    assert record.changed == ("audio=given (lipscore-1: own)",) and "audio:given" in record.signature


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["wav2lip", "mochabench", "latentsync", "wav2lip-lrs", "lipscore-1"])
def test_a_videos_own_sound_from_a_file_gives_its_own_numbers(
    protocol: str, shared: Path, kit_weights: Path, clip_paths: dict[str, Path], tmp_path: Path
) -> None:
    """To the last digit with the decoder's own samples (float, or copied).

    Rounded to 16 bits it is so under lipscore-1 alone: elsewhere a lossy codec follows, or another rounding, and the
    kit's weights, fitted to the originals' samples, make much of it.
    """
    clip = clip_paths["closeup_doctor"]
    boxes = shared / "conformance/detections" / ("mp4" if protocol == "latentsync" else "avi")
    options = ModelOptions("vgg", kit_weights, allow_unverified=True, detections=boxes, device="cpu")
    scorer = Scorer.load(protocol, options)
    own = scorer.score(clip)
    sounds = {"float.wav": ("-c:a", "pcm_f32le"), "copy.m4a": ("-c", "copy"), "rounded.flac": ("-sample_fmt", "s16")}
    for name, how in sounds.items():
        sound = tmp_path / name
        ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-vn", *how, str(sound)], clip)
        found = scorer.score(clip, audio=sound)
        assert (found.status, found.offset) == ("ok", own.offset)
        assert len(found.tracks) == len(own.tracks)
        off = max(np.abs(np.subtract(a.curve, b.curve)).max() for a, b in zip(found.tracks, own.tracks, strict=True))
        print(f"{protocol} {name}: curve differs by at most {off:.6f}")
        assert off == 0 or (name == "rounded.flac" and protocol != "lipscore-1")
