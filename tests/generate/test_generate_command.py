"""`lipscore generate`: its options, records, lists, resume, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from scipy.io import wavfile
from torch import Tensor
from typer.testing import CliRunner, Result

from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.cli.progress import left_progress
from lipscore.eval.store.records import read_records
from lipscore.eval.tools.generate import record_path
from lipscore.generate.wav2lip.faces.boxes import Pads
from lipscore.generate.wav2lip.lists import list_options, read_pairs
from lipscore.generate.wav2lip.options import Options
from lipscore.media.read import file_sha256, frames_at
from lipscore.media.write import write_video
from lipscore.weights.catalogue import ON_REQUEST, PUBLISHED, Published, WeightFile
from lipscore.weights.fetch import Search

BOX = ("--box", "10", "60", "20", "70")


@pytest.fixture(scope="module")
def checkpoint(drawn_wav2lip: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A weight file of our own in the official form."""
    folder = tmp_path_factory.mktemp("drawn-weights")
    torch.save({"state_dict": drawn_wav2lip}, folder / "wav2lip.pth")
    yield folder / "wav2lip.pth"
    shutil.rmtree(folder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to run in, with a video, a sound and an image; without network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIPSCORE_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LIPSCORE_WEIGHTS", raising=False)
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (96, 80))
    write_video(tmp_path / "talk.mp4", [np.roll(picture, k, axis=1) for k in range(12)], 25)
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    wavfile.write(tmp_path / "speech.wav", 16000, (rng.standard_normal(8000) * 3000).astype(np.int16))
    return tmp_path


def generate(*arguments: str | Path, face: str = "talk.mp4", audio: str = "speech.wav") -> Result:
    out = () if "--out" in arguments else ("--out", "made.mp4")
    given = ["generate", "--face", face, "--audio", audio, "--device", "cpu", *out, *map(str, arguments)]
    return CliRunner().invoke(app, given)


def test_help_has_an_example_and_the_licence() -> None:
    text = " ".join(CliRunner().invoke(app, ["generate", "--help"], env={"COLUMNS": "200"}).output.split())
    assert "lipscore generate --face talk.mp4 --audio speech.wav --checkpoint wav2lip_gan.pth" in text
    assert "research, academic and personal use only" in text
    for option in ("--pads", "--box", "--crop", "--resize-factor", "--rotate", "--static", "--no-smooth", "--fps"):
        assert option in text
    for option in ("--face-det-batch-size", "--wav2lip-batch-size", "--missing", "--codec", "--pairs", "--score"):
        assert option in text


def test_a_video_its_record_and_what_its_container_says(here: Path, checkpoint: Path) -> None:
    result = generate("--checkpoint", checkpoint, *BOX, "--out", "new/lips.mp4")
    assert result.exit_code == 0, result.output
    assert result.stdout == "new/lips.mp4: 10 frames, 10 generated\n"
    assert result.stderr.count("research, academic and personal use only") == 1
    out = here / "new" / "lips.mp4"
    record = json.loads(record_path(out).read_text())
    assert record["output_sha256"] == file_sha256(out)
    assert record["frames"] == {
        "written": 10,
        "generated": 10,
        "interpolated": 0,
        "kept": 0,
        "no_face": 0,
        "other_face": 0,
        "of_the_picture": 10,
    }
    assert record["states"] == {"generated": [[0, 9]]}
    assert record["weights"]["sha256"] == file_sha256(checkpoint) and record["weights"]["published"] is None
    assert record["face"]["sha256"] == file_sha256(here / "talk.mp4")
    assert record["detector"] is None and record["options"]["box"] == [10, 60, 20, 70]
    with av.open(str(out)) as container:
        said = container.metadata["comment"]
    assert "Generated video" in said and "Wav2Lip" in said and file_sha256(checkpoint)[:16] in said
    assert "compositeWithTrainedAlgorithmicMedia" in said
    assert len(list(frames_at(out, None))) == 10


def test_what_is_there_is_not_made_again(here: Path, checkpoint: Path) -> None:
    once = ("--checkpoint", checkpoint, *BOX, "--out", "lips.mp4", "--codec", "h264")
    assert generate(*once).exit_code == 0
    first = (here / "lips.mp4").stat().st_mtime_ns
    assert "made before" in generate(*once).stdout
    assert (here / "lips.mp4").stat().st_mtime_ns == first
    assert "10 generated" in generate(*once, "--no-resume").stdout
    assert "10 generated" in generate(*once, "--pads", "0", "0", "0", "0").stdout  # another option
    assert "10 generated" in generate(*once).stdout
    (here / "lips.mp4").write_bytes(b"cut short")
    assert "10 generated" in generate(*once).stdout
    wavfile.write(here / "speech.wav", 16000, np.zeros(8000, np.int16))
    assert "10 generated" in generate(*once).stdout


def test_a_file_of_the_users_is_not_replaced(here: Path, checkpoint: Path) -> None:
    once = ("--checkpoint", checkpoint, *BOX, "--out", "mine.mp4", "--codec", "h264")
    shutil.copy(here / "talk.mp4", here / "mine.mp4")
    before = (here / "talk.mp4").read_bytes()
    result = generate(*once)
    assert result.exit_code == 2 and "mine.mp4: exists" in result.stderr and "--overwrite" in result.stderr
    assert (here / "mine.mp4").read_bytes() == before
    assert generate(*once, "--overwrite").exit_code == 0
    for name in ("talk.mp4", "../" + here.name + "/talk.mp4"):
        result = generate("--checkpoint", checkpoint, *BOX, "--out", name, "--overwrite")
        assert result.exit_code == 2 and "is one of the inputs" in result.stderr
    assert (here / "talk.mp4").read_bytes() == before


def test_an_image_under_a_videos_name_and_the_reverse(here: Path, checkpoint: Path) -> None:
    (here / "face.png").rename(here / "face.mp4")
    (here / "talk.mp4").rename(here / "talk.jpg")
    once = ("--checkpoint", checkpoint, *BOX, "--codec", "h264")
    still = generate(*once, "--out", "a.mp4", "--fps", "30", face="face.mp4")
    assert still.exit_code == 0 and "face.mp4 is a still image, despite its name" in still.stdout
    assert json.loads((here / "a.mp4.json").read_text())["fps"] == 30
    moving = generate(*once, "--out", "b.mp4", face="talk.jpg")
    assert moving.exit_code == 0 and "talk.jpg is a video, despite its name" in moving.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "name the weights: --checkpoint FILE, or --model"),
        (("--model", "gan"), 2, "--model gan: unknown model"),
        (("--model", "wav2lip-gan"), 3, "wav2lip_gan.pth is not installed, and lipscore downloads it only"),
        (("--checkpoint", "nowhere.pth"), 3, "nowhere.pth: the checkpoint cannot be read"),
        (("--checkpoint", "talk.mp4"), 3, "not_a_checkpoint"),
        (("--checkpoint", "CHECKPOINT", "--detector", "mtcnn"), 2, "--detector mtcnn: unknown detector"),
        (("--checkpoint", "CHECKPOINT"), 3, "s3fd.pth is not installed, and lipscore downloads it only"),
        (("--checkpoint", "CHECKPOINT", "--detector", "given"), 2, "--detections DIR and --detector given"),
        (("--checkpoint", "CHECKPOINT", "--detector", "hog"), 1, "no_face: talk.mp4: hog finds no face in any of 10"),
        (("--checkpoint", "CHECKPOINT", "--detector", "yunet"), 1, "no_face: talk.mp4: yunet finds no face in any of"),
        (("--checkpoint", "CHECKPOINT", *BOX, "--out", "x.avi"), 2, "x.avi: end it in one of"),
        (("--checkpoint", "CHECKPOINT", *BOX, "--fps", "30"), 2, "--fps 30: only for a still image"),
        (("--checkpoint", "CHECKPOINT", *BOX, "--crop", "50", "20", "0", "-1"), 2, "leaves nothing"),
        (("--checkpoint", "CHECKPOINT", "--box", "0", "500", "0", "9"), 1, "bad_box: talk.mp4: --box 0 500 0 9"),
        (("--checkpoint", "CHECKPOINT", *BOX, "--score", "--protocol", "dogs"), 2, "--protocol dogs"),
        (("--checkpoint", "CHECKPOINT", *BOX, "--score", "--score-model", "big"), 2, "--score-model big"),
        (("--checkpoint", "CHECKPOINT", *BOX, "--score", "--score-detections", "none"), 3, "--detections none"),
        (("--checkpoint", "CHECKPOINT", *BOX, "--pairs", "list.txt"), 2, "--pairs: replaces --face"),
    ],
)
def test_bad_input_is_named(here: Path, checkpoint: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    result = generate(*(str(checkpoint) if word == "CHECKPOINT" else word for word in arguments))
    assert (result.exit_code, words in result.stderr) == (status, True), result.output
    assert "Traceback" not in result.output


def test_bad_sounds_are_named(here: Path, checkpoint: Path) -> None:
    wavfile.write(here / "short.wav", 16000, np.zeros(1600, np.int16))
    wavfile.write(here / "nan.wav", 16000, np.full(8000, np.nan, np.float32))
    (here / "text.wav").write_text("no sound")
    for audio, words in (
        ("short.wav", "audio_too_short: short.wav: the sound lasts 0.100 s"),
        ("nan.wav", "nan_audio: nan.wav: a sample at 0.000 s"),
        ("text.wav", "media_error: text.wav"),
        ("nowhere.wav", "media_error: nowhere.wav: cannot be read"),
    ):
        result = generate("--checkpoint", checkpoint, *BOX, "--out", "out.mp4", audio=audio)
        assert (result.exit_code, words in result.stderr) == (1, True), result.output
    assert not list(here.glob("out*"))


def test_yunets_boxes_are_generated_in(here: Path, checkpoint: Path, shared: Path) -> None:
    face = shared / "clips" / "talking" / "1p_closeup_facingcamera" / "4_man_reading.mp4"
    wavfile.write(here / "short.wav", 16000, np.zeros(8000, np.int16) + 1)
    arguments = ("--checkpoint", checkpoint, "--detector", "yunet", "--out", "out.mp4")
    result = generate(*arguments, face=str(face), audio="short.wav")
    assert result.exit_code == 0, result.output
    record = json.loads((here / "out.mp4.json").read_text())
    assert record["detector"] == "yunet" and record["frames"]["no_face"] == 0 < record["frames"]["generated"]


def test_weights_that_are_found_by_name_are_verified(here: Path, checkpoint: Path) -> None:
    once = ("--model", "wav2lip", "--weights-dir", checkpoint.parent, *BOX, "--out", "out.mp4", "--codec", "h264")
    result = generate(*once)
    assert result.exit_code == 3 and "is not the published wav2lip.pth" in result.stderr
    assert generate(*once, "--allow-unverified").exit_code == 0


def test_a_list_of_pairs_goes_on_past_its_failures(here: Path, checkpoint: Path) -> None:
    for name, seconds in (("a", 0.5), ("b", 0.5), ("long", 2)):
        rng = np.random.default_rng(0)
        pcm = (rng.standard_normal(round(seconds * 16000)) * 3000).astype(np.int16)
        picture = np.asarray(cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (96, 80)), np.uint8)
        write_video(here / f"{name}.mp4", [picture] * 12, 24, pcm)
    (here / "list.txt").write_text("a b\nlong a\nb gone\none two three\nb a\n")
    arguments = ["generate", "--pairs", "list.txt", "--out", "made", "--checkpoint", str(checkpoint), *BOX]
    arguments += ["--codec", "h264", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert sorted(path.name for path in (here / "made").iterdir()) == ["0.mp4", "0.mp4.json", "4.mp4", "4.mp4.json"]
    assert "2 of 5 generated" in result.stdout
    for words in ("too_few_frames: a.mp4: 12 frames", "media_error: gone.mp4", "line 3 of list.txt: 3 words"):
        assert words in result.stderr
    record = json.loads((here / "made" / "0.mp4.json").read_text())
    assert record["fps"] == 25 and record["frames"]["written"] == len(list(frames_at(here / "made" / "0.mp4", None)))
    again = CliRunner().invoke(app, arguments)
    assert again.stdout.count("made before") == 2


def test_what_the_scripts_do_to_their_lists(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("sound/x face/y\n\nz w\n")
    pairs = read_pairs(tmp_path / "list.txt", Path("root"), Path("out"), "lrs")
    assert [(str(p.audio), str(p.face), str(p.target)) for p in pairs] == [
        ("root/sound/x.mp4", "root/face/y.mp4", "out/0.mp4"),
        ("root/z.mp4", "root/w.mp4", "out/2.mp4"),
    ]
    first = read_pairs(tmp_path / "list.txt", Path("root"), Path("out"), "resynced")[0]
    assert (str(first.face), str(first.audio)) == ("root/sound/x", "root/face/y")
    lrs = list_options(Options(), "lrs", None)
    assert (lrs.pads, lrs.fixed_fps, lrs.last_chunk, lrs.shorter) == (Pads(0, 0, 0, 0), 25.0, False, "refuse")
    assert list_options(Options(), "lrs", Pads(1, 2, 3, 4)).pads == Pads(1, 2, 3, 4)
    real = list_options(Options(), "resynced-tts", None)
    assert (real.pads, real.face_px, real.framing.shorter_side, real.shorter) == (Pads(), 180, 720, "stretch")
    with pytest.raises(UsageError, match="pairs_kind = films"):
        read_pairs(tmp_path / "list.txt", Path(), Path(), "films")
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(UsageError, match="holds no line"):
        read_pairs(tmp_path / "list.txt", Path(), Path(), "lrs")


def test_progress_says_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("lipscore.eval.cli.progress.time.monotonic", lambda: now)
    tell = left_progress("a b.mp4")
    for done in range(1, 41):
        now += 1.0
        tell("frames", done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and "frames 10 of 100" in lines[0] and lines[0].rstrip().endswith("81 s left")


def test_what_is_made_is_scored_as_by_score(here: Path, checkpoint: Path, talk: Path) -> None:
    speech = np.random.default_rng(1).standard_normal(32_000) * 3000
    wavfile.write(here / "two.wav", 16000, speech.astype(np.int16))
    once: list[str | Path] = [
        "--checkpoint",
        checkpoint,
        "--box",
        "0",
        "20",
        "0",
        "20",
        "--codec",
        "lossless",
        "--out",
        "out.mp4",
    ]
    scoring = ["--score-model", "mini", "--min-track", "20", "--results", "results"]
    result = generate(*once, "--score", *scoring, face=str(talk), audio="two.wav")
    assert result.exit_code == 0, result.output
    records, problems = read_records(here / "results" / "scores.jsonl")
    assert not problems and len(records) == 1
    score = records[0].score
    assert (score.name, score.status, len(score.tracks)) == ("out", "ok", 1)
    assert any("min_track" in change for change in score.changed)
    rows = [line for line in (here / "results" / "all_scores.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(rows) == 1 and "# out track=0" in rows[0]
    alone = ["score", "out.mp4", "--model", "mini", "--min-track", "20", "--out", "alone", "--scores-file", "alone.txt"]
    assert CliRunner().invoke(app, [*alone, "--device", "cpu"]).exit_code == 0
    assert (here / "alone.txt").read_text() == (here / "results" / "all_scores.txt").read_text()
    assert not (here / "all_scores.txt").exists()
    assert "out" in result.stdout and "LSE-D" in result.stdout


def test_an_interrupted_run_leaves_nothing_half_made(here: Path, checkpoint: Path) -> None:
    wavfile.write(here / "long.wav", 16000, np.zeros(16000 * 120, np.int16))
    command = [sys.executable, "-m", "lipscore.eval", "generate", "--face", "face.png", "--audio", "long.wav", *BOX]
    command += ["--checkpoint", str(checkpoint), "--out", "made/out.mp4", "--device", "cpu", "--codec", "h264"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(here.glob("made/.lipscore-*/.lipscore-*/out.mp4")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 143, said
    assert "interrupted" in said
    assert list((here / "made").iterdir()) == []


def test_the_files_of_a_generation_are_known_and_never_fetched_unasked(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ON_REQUEST.keys() & PUBLISHED.keys()
    for name, file in ON_REQUEST.items():
        assert file.name == name and re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.size > 80_000_000
        assert file.urls and all(url.startswith("https://") for url in file.urls) and file.licence
    asked: list[str] = []

    def fetched(name: str, *rest: object) -> WeightFile:
        asked.append(name)
        return WeightFile(name, here / name, "0" * 64, True)

    monkeypatch.setattr("lipscore.weights.fetch.fetch", fetched)
    assert CliRunner().invoke(app, ["weights", "fetch"]).exit_code == 0
    assert asked == list(PUBLISHED)
    assert CliRunner().invoke(app, ["weights", "fetch", "wav2lip_gan.pth"]).exit_code == 0
    assert asked[-1] == "wav2lip_gan.pth"
    text = CliRunner().invoke(app, ["weights", "list"]).stdout
    assert "wav2lip_gan.pth: Wav2Lip + GAN" in text and "`lipscore weights fetch wav2lip_gan.pth` gets it" in text
    assert "no commercial use" in text


def test_files_that_no_score_needs_may_be_missing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(search: Search) -> list[tuple[Published, WeightFile | None]]:
        return [(file, WeightFile(name, here / name, file.sha256, True)) for name, file in PUBLISHED.items()]

    monkeypatch.setattr("lipscore.weights.fetch.listing", held)
    assert CliRunner().invoke(app, ["weights", "verify"]).exit_code == 0
    (here / "own").mkdir()
    (here / "own" / "s3fd.pth").write_bytes(b"another file")
    assert CliRunner().invoke(app, ["weights", "verify", "--weights-dir", "own"]).exit_code == 3
