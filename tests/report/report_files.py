"""Made-up results, and the report page as a test reads it."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from lipscore.eval.report.page.page import report
from lipscore.eval.store.records import Record, as_line
from lipscore.types import Shot, TrackScore, VideoScore


def made_up(name: str, rng: np.random.Generator, **changes: Any) -> VideoScore:
    """A record with a curve that dips at the offset, as a real one does."""
    offset = int(rng.integers(-5, 6))
    depth = float(rng.uniform(2, 9))
    shifts = np.arange(-15, 16)
    curve = 14 - depth * np.exp(-(((shifts + offset) / 2.0) ** 2)) + rng.normal(0, 0.1, 31)
    track = TrackScore(
        0, 0, 139, offset, float(curve.min()), depth, 135, tuple(round(float(value), 6) for value in curve)
    )
    fields: dict[str, Any] = {
        "video": f"videos/{name}.mp4",
        "name": name,
        "sha256": hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest(),
        "status": "ok",
        "reason": "",
        "protocol": "wav2lip",
        "model": "mini",
        "comparable": False,
        "protocol_hash": "cb55f4db4907",
        "detector": "hog",
        "fps": 25.0,
        "n_frames": 140,
        "duration_s": 5.6,
        "shots": (Shot(0, 140),),
        "tracks": (track,),
        "lse_d": track.lse_d,
        "lse_c": track.lse_c,
        "offset": offset,
        "psnr": float(rng.normal(30, 2)),
        "ssim": float(rng.uniform(0.6, 0.95)),
        "seconds": {"probe": 0.1, "faces": 2.0, "embed": 1.0},
    }
    return VideoScore(**(fields | changes))


def folder_of(path: Path, scores: list[VideoScore], settings: str = "0ba8ae1bde991f3d", **manifest: Any) -> Path:
    """A result folder with these records."""
    path.mkdir(parents=True)
    lines = [as_line(Record(score, settings, f"{index:016x}")) for index, score in enumerate(scores)]
    (path / "scores.jsonl").write_bytes(b"".join(lines))
    if manifest:
        (path / "run.json").write_text(json.dumps({"settings": settings, **manifest}))
    return path


def run_of(n: int, seed: int = 0, failing: int = 0) -> list[VideoScore]:
    """n made-up records, of which the last few could not be scored."""
    rng = np.random.default_rng(seed)
    scores = [made_up(f"clip_{index:04d}", rng) for index in range(n - failing)]
    nothing: dict[str, Any] = {"tracks": (), "lse_d": None, "lse_c": None, "offset": None, "psnr": None, "ssim": None}
    why = {"status": "no_face", "reason": "no face in 140 frames; is there one?"}
    return scores + [made_up(f"bad_{index}", rng, **nothing, **why) for index in range(failing)]


class Page(HTMLParser):
    """What a browser without script shows of a page, its embedded data, and every address in it."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self.raw: dict[str, str] = {}
        self._inside: list[str] = []
        self._table = ""
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag in ("script", "style", "template"):
            self._inside.append(values.get("id") or tag)
        if tag == "table":
            self._table = values.get("id") or ""
        if tag == "tr" and self._table == "table":
            self.rows.append([])
        if tag in ("td", "th") and self.rows and self._table == "table":
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "template"):
            self._inside.pop()
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside[-1]] = self.raw.get(self._inside[-1], "") + data
            return
        self.text.append(data)
        if self._table == "table" and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    @property
    def shown(self) -> str:
        """All text outside scripts, styles and templates."""
        return " ".join("".join(self.text).split())

    @property
    def data(self) -> dict[str, Any]:
        """The embedded JSON."""
        found: dict[str, Any] = json.loads(self.raw["data"])
        return found


def page_of(*results: str | Path, target: Path = Path("report.html"), **options: Any) -> Page:
    return Page(report([str(one) for one in results], target, **options).html)
