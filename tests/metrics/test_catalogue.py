"""The catalogue of scores: what an entry brings about, and that a new metric is a function and an entry, no more."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lipscore.demo.clips import make_clip
from lipscore.eval.cli import tables
from lipscore.eval.cli.main import app
from lipscore.eval.cli.progress import result_line
from lipscore.eval.reference import missing_reference
from lipscore.eval.store import average, scores_file, summary
from lipscore.eval.store.records import Record, as_csv, as_json, as_line, from_json, read_records
from lipscore.media import read, write
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import LSE_D, Score
from lipscore.metrics.image.measure import Images, Mean, Variant
from lipscore.types import TrackScore, VideoScore
from lipscore.weights.catalogue import PUBLISHED

TRACK = TrackScore(0, 0, 99, 2, 7.25, 6.5, 95, (1.0,) * 31)
VIDEO = VideoScore("in/a.mp4", "a", "ab" * 32, "ok", "", "wav2lip", "vgg", True, tracks=(TRACK,))
SCORED = replace(VIDEO, lse_d=7.25, lse_c=6.5, offset=2, psnr=31.5, ssim=0.9)


def mean_difference(images: Images) -> float:
    """The toy metric: the mean absolute difference of a pair's pixel values."""
    generated, reference = images.planes("rgb")
    return float((generated.double() - reference.double()).abs().mean())


TOY = Score("mad", "MAD", "video", "lower", "levels", ".2f", variant=Variant("mad-rgb", partial(Mean, mean_difference)))


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "SCORES", (*catalogue.SCORES, TOY))
    yield


def pair_of(folder: Path) -> tuple[Path, Path]:
    """A second and a half of a talking head, twice as coarse as its reference of the same name."""
    drawn = make_clip(seed=3, seconds=1.6, size=(224, 224))
    frames = list(drawn.frames)
    (folder / "reference").mkdir(parents=True)
    poor, good = folder / "talk.mp4", folder / "reference" / "talk.mp4"
    write.write_video(poor, frames, 25, drawn.pcm, crf=38)
    write.write_video(good, frames, 25, crf=12)
    return poor, good


def test_a_toy_metric_appears_everywhere(with_toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poor, good = pair_of(tmp_path / "in")
    pairs = zip(*(read.frames_at(path, 25) for path in (poor, good)), strict=True)
    want = float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairs]))
    assert want > 0.5
    monkeypatch.chdir(tmp_path)
    run = ["score", "in", "--protocol", "wav2lip-lrs", "--model", "mini", "--device", "cpu", "--out", "out"]
    result = CliRunner().invoke(app, [*run, "--scores-file", "all.txt"])
    assert result.exit_code == 0, result.output

    assert f"MAD {want:.2f}" in result.stderr  # the progress line
    head, row, *means = result.stdout.splitlines()
    assert re.split(r" {2,}", head.strip()) == [
        "video",
        "tracks",
        "offset",
        "ms",
        "LSE-D~ ↓",
        "LSE-C~ ↑",
        "PSNR ↑",
        "SSIM ↑",
        "MAD ↓",
        "status",
    ]
    assert re.split(r" {2,}", row.strip())[-2:] == [f"{want:.2f}", "ok"]
    assert f"MAD {want:.6f} (n=1)" in means[0] and "mean over" not in means[1]
    ((record,), problems) = read_records(tmp_path / "out" / "scores.jsonl")
    assert record.score.scores == {"mad": pytest.approx(want, abs=1e-9)} and not problems
    assert record.score.reference is not None
    assert record.score.reference.values["mad-rgb"] == record.score.scores["mad"]
    (cells,) = csv.DictReader((tmp_path / "out" / "scores.csv").open())
    assert list(cells)[-1] == "mad" and float(cells["mad"]) == pytest.approx(want)
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert manifest["means_over_videos"]["mad"] == {"mean": pytest.approx(want), "n": 1}
    assert (tmp_path / "all.txt").read_text().rstrip().endswith(f"model=mini folder=in mad={want:.6f}")
    assert np.loadtxt(tmp_path / "all.txt").shape == (4,)
    assert f"avg. MAD: {want:.6f} (n=1)" in average.average(tmp_path / "all.txt").lines

    compared = CliRunner().invoke(
        app, ["compare", str(poor), str(good), "--per-frame", "frames.csv", "--device", "cpu"]
    )
    assert f"mad-rgb: {want:.4f}\n" in compared.stdout
    frames = list(csv.DictReader((tmp_path / "frames.csv").open()))
    assert np.mean([float(frame["mad-rgb"]) for frame in frames]) == pytest.approx(want, abs=1e-5)


def test_two_runs_are_compared_by_the_toys_own_direction(with_toy: None, tmp_path: Path) -> None:
    for name, level in (("a", 2.0), ("b", 1.0)):
        scores = [replace(SCORED, name=f"v{k}", scores={"mad": level + k / 10}) for k in range(8)]
        lines = [line for score in scores for line in scores_file.lines_of(score)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    (line,) = [line for line in average.compare(tmp_path / "a", tmp_path / "b").lines if line.startswith("MAD")]
    assert "B - A -1.000000" in line and "B is better" in line
    (tmp_path / "a").write_text(scores_file.lines_of(SCORED)[0] + " mad=broken\n")
    ((number, _),) = scores_file.read_scores(tmp_path / "a").malformed
    assert number == 1


# What was there before the catalogue stays as it was


def test_records_without_further_scores_are_what_they_were() -> None:
    assert "scores" not in as_json(Record(SCORED))
    header, row = as_csv([Record(SCORED, "s", "k")]).decode().splitlines()
    assert header == (
        "video,name,sha256,status,reason,protocol,protocol_hash,changed,model,detector,comparable,fps,n_frames,"
        "duration_s,shots,tracks,lse_d,lse_c,offset,psnr,ssim,reference,seconds,signature,offset_ms,audio"
    )
    assert row.endswith(",0,1,7.25,6.5,2,31.5,0.9,,,,,")
    assert scores_file.lines_of(SCORED) == (
        "7.250000 6.500000 31.500000 0.900000  # a track=0 offset=2 protocol=wav2lip model=vgg",
    )
    assert result_line(Record(SCORED)) == "a: 1 track, offset 2, LSE-D 7.250, LSE-C 6.500, PSNR 31.500, SSIM 0.900"
    none = missing_reference(Path("in/a.mp4"), Path("in/reference"))
    assert result_line(Record(replace(VIDEO, reference=none))).endswith("1 track, offset -, no reference")
    gone = replace(none, reason="r/a.mp4: no such file", reference="r/a.mp4")  # named, as in a manifest
    assert result_line(Record(replace(VIDEO, reference=gone))).endswith(
        "; reference: no_reference: r/a.mp4: no such file"
    )
    found = summary.summarise([Record(SCORED)], 1)
    assert summary.lines(found) == [
        "mean over rows and videos: LSE-D 7.250000 (n=1)  LSE-C 6.500000 (n=1)  PSNR 31.500000 (n=1)  "
        "SSIM 0.900000 (n=1)",
        "1 scored / 1 total",
    ]
    means = summary.as_json(found)
    assert list(means["means_over_rows"]) == ["lse_d", "lse_c"]
    assert list(means["means_over_videos"]) == ["lse_d", "lse_c", "psnr", "ssim"]


def table_of(*scores: VideoScore) -> list[str]:
    return tables.results([Record(score) for score in scores], io.StringIO()).splitlines()


def test_the_table_keeps_its_form() -> None:
    faceless = replace(SCORED, name="b", status="no_face", tracks=(), lse_d=None, lse_c=None, offset=None)
    assert [line.rstrip() for line in table_of(SCORED, faceless)] == [
        "video  tracks  offset  LSE-D ↓  LSE-C ↑  PSNR ↑  SSIM ↑  status",
        "a           1       2    7.250    6.500  31.500   0.900  ok",
        "b           0       -        -        -  31.500   0.900  no_face",
    ]


def test_estimates_are_marked_where_they_are_printed_and_nowhere_else(tmp_path: Path) -> None:
    mini = replace(SCORED, model="mini")
    assert "LSE-D~ 7.250, LSE-C~ 6.500, PSNR 31.500" in result_line(Record(mini))
    assert "offset  LSE-D~ ↓  LSE-C~ ↑  PSNR ↑  SSIM ↑" in table_of(mini)[0]
    assert "LSE-D~ 7.250000 (n=1)  LSE-C~ 6.500000" in summary.lines(summary.summarise([Record(mini)], 1))[0]
    (tmp_path / "mini").write_text(scores_file.lines_of(mini)[0] + "\n")
    (tmp_path / "vgg").write_text(scores_file.lines_of(SCORED)[0] + "\n")
    assert average.average(tmp_path / "mini").lines[0] == "avg. LSE-D~: 7.250000 (n=1)"
    assert average.average(tmp_path / "vgg").lines[0] == "avg. LSE-D: 7.250000 (n=1)"
    assert average.average(tmp_path / "mini").lines[2].startswith("avg. PSNR:")
    assert any(line.startswith("LSE-D~") for line in average.compare(tmp_path / "vgg", tmp_path / "mini").lines)
    for text in (as_line(Record(mini)), as_csv([Record(mini)]), (tmp_path / "mini").read_bytes()):
        assert b"~" not in text


def test_a_silent_videos_further_scores_count_in_an_average_as_in_the_summary(with_toy: None, tmp_path: Path) -> None:
    heard = replace(SCORED, name="heard", scores={"mad": 1.0})
    silent = replace(SCORED, scores={"mad": 4.0}, silent=True)
    scores_file.append_lines(tmp_path / "s.txt", (*scores_file.lines_of(heard), *scores_file.lines_of(silent)))
    made = summary.summarise([Record(heard), Record(silent)], 2).videos["mad"]
    assert (made.value, made.n) == (2.5, 2)
    assert "avg. MAD: 2.500000 (n=2)" in average.average(tmp_path / "s.txt").lines


def test_further_scores_are_read_as_they_were_written() -> None:
    record = Record(replace(SCORED, scores={"mad": 1.5}), "s", "k")
    assert from_json(json.loads(as_line(record))) == record
    broken = from_json(json.loads(as_line(Record(replace(SCORED, scores={"mad": math.nan}), "s", "k"))))
    assert math.isnan(broken.score.scores["mad"])
    older = json.loads(as_line(Record(SCORED, "s", "k")))
    assert from_json(older).score.scores == {}


def test_every_entry_is_whole() -> None:
    names = [score.name for score in catalogue.SCORES]
    assert len(set(names)) == len(names)
    variants = {variant.name: variant for variant in catalogue.image_variants(every=True)}
    for score in catalogue.SCORES:
        assert score.title and score.better in ("lower", "higher", "zero")
        assert set(score.weights) <= set(PUBLISHED)
        assert score.level == "video" or hasattr(TRACK, score.name)
        assert score.variant is None or variants[score.variant.name] is score.variant
    assert LSE_D.of(TRACK) == 7.25 and LSE_D.of(SCORED) == 7.25 and LSE_D.of(VIDEO) is None
    assert [score.name for score in catalogue.SCORES if score.better == "lower"] == ["lse_d"]


def test_a_set_of_every_variant_has_the_default_ones() -> None:
    default = [variant.name for variant in catalogue.image_variants()]
    assert default == ["psnr-rgb", "psnr-luma", "ssim-wang-luma", "psnr-rgb-pooled", "psnr-luma-pooled"]
    assert set(default) < {variant.name for variant in catalogue.image_variants(every=True)}
    assert [catalogue.unit_of(name) for name in ("psnr-luma-pooled", "ms-ssim-luma", "none such")] == ["dB", "", ""]
