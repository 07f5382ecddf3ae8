"""What one video may cost: frames, audio, pixels and time are measured, and what is over a limit says which option."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from lipscore import Models, get_protocol
from lipscore.errors import MediaError, NotScoredError, UsageError
from lipscore.eval.options import RunOptions
from lipscore.eval.reference import score_reference
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.media import ffmpeg, limits, read
from lipscore.media.limits import Limits, Watch, watching
from lipscore.media.write import transcode
from lipscore.types import VideoScore


def scored(talk: Path, models: Models, given: Limits, protocol: str = "wav2lip") -> VideoScore:
    return score_video(talk, Setup(get_protocol(protocol), models), limits=given)


@pytest.mark.parametrize("protocol", ["wav2lip", "lipscore-1"])
@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (Limits(max_frames=50), "too_large", "more than 50 frames, the limit; is a timestamp wrong? --max-frames 500"),
        (
            Limits(max_audio=2),
            "too_large",
            "more than 2 seconds of audio, the limit; is a timestamp wrong? --max-a",
        ),
        (Limits(max_pixels=9999), "too_large", "pixels, more than 9999: --max-pixels"),
        (Limits(max_seconds=0), "timed_out", "not scored after 0 s: --max-seconds"),
    ],
)
def test_over_a_limit_is_a_status_with_the_option(
    talk: Path, mini_models: Models, protocol: str, given: Limits, status: str, said: str
) -> None:
    record = scored(talk, mini_models, given, protocol)
    assert (record.status, record.lse_d, record.tracks) == (status, None, ())
    assert said in record.reason


def test_a_video_as_long_as_its_file_is_large_is_scored(talk: Path, mini_models: Models) -> None:
    assert scored(talk, mini_models, Limits(), "lipscore-1").status == "ok"
    assert score_reference(talk, talk).status == "ok"


def test_a_reference_over_a_limit(talk: Path) -> None:
    found = score_reference(talk, talk, limits=Limits(max_frames=10))
    assert (found.status, found.psnr) == ("too_large", None) and "--max-frames" in found.reason


def test_a_small_file_cannot_hold_hours(talk: Path, tmp_path: Path) -> None:
    """The frames of a file with one timestamp two hours late: FFmpeg repeats the one before it 180,000 times."""
    late = tmp_path / "late.mp4"
    shift = "setpts=PTS+gte(N\\,40)*7200/TB"
    args = [*ffmpeg.input_args(talk), "-an", "-vf", shift, "-fps_mode", "passthrough", f"file:{late}"]
    ffmpeg.run_ffmpeg(args, late)
    watch = Watch(Limits(), late.stat().st_size, 25)
    assert watch.max_frames < 180_000
    with pytest.raises(NotScoredError, match="can plausibly hold"):
        for _ in watch.frames(range(180_000)):
            pass
    with pytest.raises(MediaError, match="jump by 7199 s"):
        read.probe(late)


def test_a_transcode_keeps_its_numbers_while_it_is_watched(talk: Path, tmp_path: Path) -> None:
    """A bound on FFmpeg's frames would end the audio with the picture."""
    longer = tmp_path / "longer.mp4"
    sound = ["-f", "lavfi", "-i", "sine=duration=7:sample_rate=16000", "-map", "0:v", "-map", "1:a", "-c:v", "copy"]
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(talk), *sound, f"file:{longer}"], longer)
    samples = []
    for name in ("free", "watched"):
        target = tmp_path / f"{name}.mp4"
        with watching(Watch(Limits(), longer.stat().st_size, 25)) if name == "watched" else nullcontext():
            transcode(longer, target, ["-qscale:v", "2", "-async", "1", "-r", "25"])
        samples.append(len(read.pcm_pipe(target, ["-ac", "1", "-ar", "16000"])))
    assert samples[0] == samples[1] > 6.9 * 16000


def test_audio_is_counted_while_it_is_decoded(tmp_path: Path) -> None:
    sound = tmp_path / "tone.wav"
    ffmpeg.run_ffmpeg(["-f", "lavfi", "-i", "sine=duration=30", "-ar", "16000", f"file:{sound}"], sound)
    with watching(Watch(Limits(max_audio=40), 1000, 25)):
        assert len(read.pcm_pipe(sound, ["-ac", "1", "-ar", "16000"])) == 30 * 16000
    with watching(Watch(Limits(max_audio=5), 1000, 25)), pytest.raises(NotScoredError) as caught:
        read.pcm_pipe(sound, ["-ac", "1", "-ar", "16000"])
    assert caught.value.status == "too_large" and "5 seconds of audio" in caught.value.reason


def test_ffmpeg_ends_when_the_time_is_up() -> None:
    start = time.monotonic()
    endless = ["-re", "-f", "lavfi", "-i", "sine", "-f", "null", "-"]
    with watching(Watch(Limits(max_seconds=0.5), 1000, 25)), pytest.raises(NotScoredError) as caught:
        ffmpeg.run_ffmpeg(endless, Path("endless"))
    assert caught.value.status == "timed_out"
    assert time.monotonic() - start < 20


def test_a_watch_is_one_threads_own() -> None:
    seen: list[object] = []
    with watching(Watch(Limits(), 1, 25)) as watch:
        thread = threading.Thread(target=lambda: seen.append(limits.current()))
        thread.start()
        thread.join()
        assert limits.current() is watch
    assert seen == [None] and limits.current() is None


def test_frames_are_measured_before_they_are_made(talk: Path) -> None:
    with watching(Watch(Limits(max_pixels=9999), 10**6, 25)), pytest.raises(NotScoredError, match="480x480"):
        read.probe(talk)


def test_the_options_check_themselves() -> None:
    assert RunOptions(max_frames=5, max_seconds=1.5).limits == Limits(1.5, 5, limits.MAX_PIXELS, None)
    with pytest.raises(UsageError, match="max_frames"):
        RunOptions(max_frames=0)
