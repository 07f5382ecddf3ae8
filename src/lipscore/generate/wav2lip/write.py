"""Write the output with the original's two lossy codecs, with one codec, or without loss; and tag it as generated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from lipscore.errors import UsageError
from lipscore.media import ffmpeg, write
from lipscore.media.edit import AUDIO_CODECS
from lipscore.media.encode import frame_sink
from lipscore.media.files.aside import written_aside
from lipscore.types import Frame

CODECS = ("original", "h264", "lossless")
SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
CRF = "18"
# FFmpeg's quick conversion darkens noisy colours by 1.6 levels
ROUNDED = "scale=flags=accurate_rnd+full_chroma_inp+full_chroma_int+bicubic"
# IPTC's vocabulary of digital source types: a composite that includes elements made by trained models
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def check_target(target: Path, codec: str, inputs: Sequence[Path]) -> None:
    """Check that the codec exists, that the file's suffix supports it, and that the file is not an input.

    Raises:
        UsageError: one of these conditions is not met.
    """
    if codec not in CODECS:
        raise UsageError.about("codec", codec, f"no such choice; use one of {', '.join(CODECS)}")
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError.about("out", target, f"end it in one of {' '.join(SUFFIXES)}")
    if target.resolve() in [path.resolve() for path in inputs]:
        raise UsageError.about("out", target, "is one of the inputs; name another file")


def metadata(made_by: str, weights: str) -> dict[str, str]:
    """The container's tags: the picture is generated, by which version, with which weights."""
    said = f"Generated video: the lips were made by Wav2Lip to follow another sound ({made_by}; {weights})."
    return {"comment": f"{said} {SOURCE_TYPE}"}  # the one key that MP4, QuickTime and Matroska share


@contextmanager
def output(
    target: Path, codec: str, size: tuple[int, int], fps: Fraction, wav: Path, tags: Mapping[str, str]
) -> Iterator[Callable[[Frame], None]]:
    """A function that writes the next frame, uint8[H, W, 3] BGR; the complete target appears when the block ends.

    Neither stream is cut to the other's length, so the sound is slightly longer than the picture.

    Args:
        codec: "original": MPEG-4 by OpenCV (odd sizes lose their last row or column), then H.264 at CRF 23 and AAC by
            FFmpeg; "h264": H.264 at CRF 18 and AAC; "lossless": identical frames (H.264 of RGB) and samples (ALAC).
        size: width, height of every frame.
        wav: the sound.

    Raises:
        MediaError: FFmpeg or OpenCV cannot write the file.
        MissingError: the target's folder cannot be written.
    """
    said = [word for key, value in tags.items() for word in ("-metadata", f"{key}={value}")]
    threads = ["-threads", write.ENCODER_THREADS]
    with written_aside(target) as aside:
        if codec == "original":
            with tempfile.TemporaryDirectory(prefix="lipscore-") as folder:
                avi = Path(folder) / "result.avi"
                writer = write.open_writer(avi, "DIVX", float(fps), size)
                try:

                    def write_frame(frame: Frame) -> None:
                        writer.write(frame)

                    yield write_frame
                finally:
                    writer.release()
                inputs = [*ffmpeg.input_args(wav), *ffmpeg.input_args(avi)]
                args = [*inputs, "-strict", "-2", "-q:v", "1", *threads, *said, ffmpeg.file_url(aside)]
                ffmpeg.run_ffmpeg(args, target)
            return
        odd = size[0] % 2 or size[1] % 2
        options = {
            "h264": ["-vf", ROUNDED, "-c:v", "libx264", "-crf", CRF, "-pix_fmt", "yuv444p" if odd else "yuv420p"],
            "lossless": ["-c:v", "libx264rgb", "-qp", "0", "-pix_fmt", "bgr24"],
        }[codec]
        options += {"h264": AUDIO_CODECS["aac"], "lossless": ("-c:a", "alac")}[codec]
        with frame_sink(
            aside, size, fps, ffmpeg.input_args(wav), ["-map", "0:v", "-map", "1:a", *options, *threads, *said]
        ) as sink:
            yield sink
