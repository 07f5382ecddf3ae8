"""The lists of Wav2Lip's evaluation scripts, and where those scripts differ from inference.py.

github.com/Rudrabha/Wav2Lip at 5c90fa9, evaluation/gen_videos_from_filelist.py (the published tables of LRS2, LRS3 and
LRW) and evaluation/real_videos_inference.py (ReSyncED).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lipscore.errors import UsageError
from lipscore.generate.wav2lip.faces.boxes import Pads
from lipscore.generate.wav2lip.options import Options


@dataclass(frozen=True, slots=True)
class Pair:
    """A video to generate. problem: why it cannot be generated, if the list already shows that; else empty."""

    face: Path
    audio: Path
    target: Path
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ListKind:
    """A kind of list of Wav2Lip's evaluation scripts: the form of its lines, and the settings of its script."""

    audio_first: bool
    suffix: str
    about: str


KINDS = {
    "lrs": ListKind(True, ".mp4", 'gen_videos_from_filelist.py: "audio video", both without .mp4'),
    "resynced": ListKind(False, "", 'real_videos_inference.py: "video audio"'),
    "resynced-tts": ListKind(False, "", 'the same with --mode tts: "video audio", short videos are stretched'),
}


def read_pairs(path: Path, data_root: Path, out: Path, kind: str) -> list[Pair]:
    """The pairs of a list; line K, counted from 0, becomes OUT/K.mp4.

    Raises:
        UsageError: the kind is unknown, or the list cannot be read or contains no pair.
    """
    if kind not in KINDS:
        raise UsageError.about("pairs_kind", kind, f"no such kind; use one of {', '.join(KINDS)}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError.about("pairs", path, f"cannot be read ({error})") from error
    layout = KINDS[kind]
    pairs = []
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        words = line.split("\t") if "\t" in line else line.split()
        problem = "" if len(words) == 2 else f"line {number} of {path}: {len(words)} words where {layout.about}"
        files = [data_root / f"{word}{layout.suffix}" for word in (words if len(words) == 2 else ("", ""))]
        audio, face = files if layout.audio_first else files[::-1]
        pairs.append(Pair(face, audio, out / f"{number}.mp4", problem))
    if not pairs:
        raise UsageError.about("pairs", path, f"holds no line of {layout.about}")
    return pairs


def list_options(options: Options, kind: str, pads: Pads | None) -> Options:
    """The options of a list's script: 25 fps and no pads for LRS and LRW, faces of about 180 px for ReSyncED.

    No script adds a window at the end or repeats the picture. pads: the user's pads, or None.
    """
    if kind == "lrs":
        return replace(options, pads=pads or Pads(0, 0, 0, 0), fixed_fps=25.0, last_chunk=False, shorter="refuse")
    shorter = "stretch" if kind == "resynced-tts" else "refuse"
    framing = replace(options.framing, shorter_side=720)
    return replace(options, framing=framing, face_px=180, last_chunk=False, shorter=shorter)
