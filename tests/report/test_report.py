"""`lipscore report`: what the page says, with and without script; test_browser.py reads it in a real browser."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from report_files import Page, folder_of, made_up, page_of, run_of
from typer.testing import CliRunner

from lipscore import Models
from lipscore.errors import MissingError, UsageError
from lipscore.eval import pictures
from lipscore.eval import score as stages
from lipscore.eval.cli.main import app
from lipscore.eval.report.page import charts, facts, svg
from lipscore.eval.report.page.page import report
from lipscore.eval.report.page.results import command_of, load
from lipscore.eval.setup import Setup
from lipscore.eval.store.records import Record, as_line
from lipscore.eval.trace import Trace
from lipscore.metrics import catalogue
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import GivenSound


def test_the_page_without_script_has_all_videos_the_means_and_the_reasons(tmp_path: Path) -> None:
    scores = run_of(30, failing=2)
    page = page_of(folder_of(tmp_path / "run", scores))
    lse_c = [score.lse_c for score in scores if score.lse_c is not None]
    assert len(page.rows) == 31
    shown = [float(row[2]) for row in page.rows[1:29]]
    assert shown == sorted(round(value, 3) for value in lse_c)  # the least confident first
    assert [row[-2] for row in page.rows[29:]] == ["no_face", "no_face"]
    assert f"{np.mean(lse_c):.3f}" in page.shown
    assert "28 of 30" in page.shown
    assert "2 no_face" in page.shown
    assert "no face in 140 frames; is there one?" in page.shown
    assert "Estimates: model mini" in page.shown
    assert sum(tag == "svg" and "chart" in (attrs.get("class") or "") for tag, attrs in page.tags) >= 5
    assert sum(tag == "polyline" for tag, _ in page.tags) == 28


def test_no_banner_for_comparable_scores_and_one_for_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    official = [made_up(f"v{i}", rng, model="vgg", detector="s3fd", comparable=True) for i in range(3)]
    assert not any(
        (attrs.get("class") or "") == "banner" for _, attrs in page_of(folder_of(tmp_path / "a", official)).tags
    )
    changed = [made_up(f"v{i}", rng, model="vgg", changed=("min_track=50 (wav2lip: 100)",)) for i in range(3)]
    shown = page_of(folder_of(tmp_path / "b", changed)).shown
    assert "Not comparable with published numbers" in shown
    assert "min_track=50" in shown


def test_interval_and_mean_are_those_of_the_average_command(tmp_path: Path) -> None:
    (method,), _ = load([str(folder_of(tmp_path / "run", run_of(40)))])
    cell = facts.mean_of(method, catalogue.LSE_C)
    assert cell is not None
    values = np.array([record.score.lse_c for record in method.records], float)
    drawn = np.random.default_rng(5).choice(values, (20000, len(values))).mean(axis=1)
    low, high = (float(text) for text in cell.interval.split(" to "))
    assert cell.value == f"{values.mean():.3f}"
    assert (low, high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.05)


def test_silent_videos_are_shown_but_not_part_of_the_means(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    scores = [made_up("heard", rng, lse_c=5.0), made_up("silent", rng, silent=True, lse_c=1.0)]
    (method,), _ = load([str(folder_of(tmp_path / "run", scores))])
    assert facts.values_of(method, catalogue.LSE_C) == [5.0]
    assert len(facts.values_of(method, catalogue.PSNR)) == 2
    page = page_of(tmp_path / "run")
    assert len(page.rows) == 3
    assert "1 silent, not part of the means" in page.shown


def test_the_floor_is_shown_where_it_is_of_this_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    folder = folder_of(tmp_path / "run", [made_up("a", rng, signature="lipscore:1|n:1")])
    floor = {"schema": 1, "signature": "lipscore:1|n:1", "means": {"lse_d": 12.345678, "lse_c": 1.234567}}
    (folder / "floor.json").write_text(json.dumps(floor))
    shown = page_of(folder).shown
    assert "floor of run" in shown and "12.346" in shown and "1.235" in shown
    assert "lipscore:1|n:1" in shown
    (folder / "floor.json").write_text(json.dumps(floor | {"signature": "other"}))
    assert "floor of run" not in page_of(folder).shown


def test_offsets_are_judged_between_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    scores = [made_up("a", rng, offset=1, offset_ms=44.0), made_up("b", rng, offset=-1, offset_ms=-61.0)]
    (method,), _ = load([str(folder_of(tmp_path / "run", scores))])
    assert [share for name, share in facts.offsets_within(method) if "R37" in name] == ["0.0 %"]
    assert [share for name, share in facts.offsets_within(method) if "detectable" in name] == ["100.0 %"]


def test_the_offset_of_a_still_mouth_is_not_judged(tmp_path: Path) -> None:
    one, other = run_of(2)
    still = replace(one, tracks=(replace(one.tracks[0], mouth_motion=0.01),), offset_ms=500.0)
    (method,), _ = load([str(folder_of(tmp_path / "run", [still, replace(other, offset_ms=1.0)]))])
    assert facts.offsets_of(method) == [1.0] and {share for _, share in facts.offsets_within(method)} == {"100.0 %"}


def test_the_data_hold_every_record_and_the_csv_is_that_of_the_run(tmp_path: Path) -> None:
    scores = run_of(7, failing=1)
    page = page_of(folder_of(tmp_path / "run", scores))
    data = page.data
    merged = {one["key"]: data["methods"][one["method"]]["shared"] | one["record"] for one in data["videos"]}
    by_name = {record["name"]: record for record in merged.values()}
    assert len(by_name) == 7
    for score in scores:
        assert by_name[score.name]["lse_c"] == score.lse_c
        assert [tuple(track["curve"]) for track in by_name[score.name]["tracks"]] == [t.curve for t in score.tracks]
    link = next(attrs["href"] for tag, attrs in page.tags if tag == "a" and attrs.get("download"))
    assert link is not None
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(link.partition("base64,")[2]).decode())))
    assert {row["name"] for row in rows} == set(by_name)


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    name = "</script><script>alert(1)</script><img src=x onerror=alert(2)>$x_1$"
    scores = [made_up(name, rng), made_up("bad", rng, status="error", reason=name, tracks=(), lse_c=None)]
    label = "<b>&amp;</script>"
    page = page_of(f"{label}={folder_of(tmp_path / 'run', scores)}", folder_of(tmp_path / "b", scores))
    assert name in page.shown
    assert not any(tag == "img" for tag, _ in page.tags)
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert page.data["methods"][0]["label"] == label


def test_file_names_that_are_no_unicode_are_shown_as_escapes(tmp_path: Path) -> None:
    (tmp_path / "bad\udcff.mp4").write_bytes(b"")
    rng = np.random.default_rng(2)
    score = made_up("bad\udcff", rng, video=str(tmp_path / "bad\udcff.mp4"))
    page = page_of(folder_of(tmp_path / "run", [score]), target=tmp_path / "r.html")
    assert "bad\\udcff" in page.shown
    assert page.data["videos"][0]["source"] == "bad%FF.mp4"


def test_nothing_in_the_page_leads_to_the_network(tmp_path: Path) -> None:
    html = report([str(folder_of(tmp_path / "run", run_of(5)))], tmp_path / "r.html").html
    page = Page(html)
    addresses = [
        attrs[name] or "" for _, attrs in page.tags for name in ("src", "href", "xlink:href") if attrs.get(name)
    ]
    assert addresses and all(address.startswith(("#", "data:")) for address in addresses)
    assert not any("style" in attrs or any(name.startswith("on") for name in attrs) for _, attrs in page.tags)
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and attrs.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_two_methods_stand_side_by_side_and_are_paired_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    a = [made_up(f"v{i}", rng) for i in range(12)]
    b = [made_up(f"v{i}", rng) for i in range(2, 14)]
    page = page_of(f"ours={folder_of(tmp_path / 'b', b)}", f"real={folder_of(tmp_path / 'a', a)}", real="real")
    both = {score.name: score.lse_c for score in a}
    difference = np.mean([score.lse_c - both[score.name] for score in b if score.lse_c and score.name in both])  # type: ignore[operator]
    assert (
        "10 videos that both have scored; 4 that one of them has not scored, or has twice, are left out" in page.shown
    )
    assert f"{difference:+.3f}".replace("-", "−") in page.shown
    assert "The largest losses in LSE-C~" in page.shown
    assert "(real videos)" in page.shown
    first = page.shown.split("largest losses in LSE-C~")[1].split()[0]
    lost = {s.name: (s.lse_c or 0) - (both[s.name] or 0) for s in b if s.name in both}
    assert first.rstrip(":") == min(lost, key=lambda name: lost[name])


def test_a_name_that_stands_for_two_videos_is_paired_with_none(tmp_path: Path) -> None:
    """Runs over two folders into one result; a video that was only moved keeps its pair."""
    rng = np.random.default_rng(4)
    a = [made_up(name, rng) for name in ("v", "w", "moved")]
    b = [replace(a[0], video="x/v.mp4"), replace(a[0], video="y/v.mp4", sha256="ab"), a[1], a[2]]
    b.append(replace(a[2], video="elsewhere/moved.mp4"))
    (one, other), _ = load([f"a={folder_of(tmp_path / 'a', a)}", f"b={folder_of(tmp_path / 'b', b)}"])
    found = facts.versus(one, other, [catalogue.LSE_C])
    assert [pair[0].score.name for pair in found.pairs] == ["w", "moved"] and found.left_out == 1


def test_results_that_were_scored_differently_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    folder = folder_of(tmp_path / "run", [made_up("v", rng), made_up("w", rng)])
    other = as_line(Record(made_up("v", rng, protocol="joonson", protocol_hash="ffff"), "another", "1"))
    (folder / "scores.jsonl").write_bytes((folder / "scores.jsonl").read_bytes() + other + b"{half")
    made = report([str(folder)], tmp_path / "r.html")
    assert "were scored differently and are not comparable with each other" in Page(made.html).shown
    assert [method["label"] for method in Page(made.html).data["methods"]] == ["run (1)", "run (2)"]
    assert "line 4: half a line" in made.warnings[0]


def test_a_video_scored_again_counts_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    again = [made_up("v", rng), made_up("v", rng), made_up("w", rng)]
    (method,), _ = load([str(folder_of(tmp_path / "run", again))])
    assert [record.score.lse_c for record in method.records] == [again[1].lse_c, again[2].lse_c]


def test_what_cannot_be_reported_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="contains no results; name a folder that `lipscore score --out` wrote"):
        report([str(tmp_path)], tmp_path / "r.html")
    folder = str(folder_of(tmp_path / "run", run_of(2)))
    with pytest.raises(UsageError, match="two results have this name"):
        report([folder, folder], tmp_path / "r.html")
    with pytest.raises(UsageError, match="real = other: no results have this name; they are run"):
        report([folder], tmp_path / "r.html", real="other")


def test_a_thousand_videos_stay_below_five_megabytes(tmp_path: Path) -> None:
    html = report([str(folder_of(tmp_path / "run", run_of(1000, failing=20)))], tmp_path / "r.html").html
    assert len(Page(html).rows) == 1001
    assert len(html) < 5_000_000


def test_the_video_is_linked_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a #1?.mp4").write_bytes(b"")
    rng = np.random.default_rng(6)
    scores = [made_up("a", rng, video=str(tmp_path / "videos" / "a #1?.mp4")), made_up("gone", rng)]
    page = page_of(folder_of(tmp_path / "run", scores), target=tmp_path / "out" / "r.html")
    sources = {one["record"]["name"]: one["source"] for one in page.data["videos"]}
    assert sources == {"a": "../videos/a%20%231%3F.mp4", "gone": None}


def test_pictures_of_the_worst_and_the_best_are_in_the_page(tmp_path: Path) -> None:
    scores = run_of(6)
    folder = folder_of(tmp_path / "run", scores)
    jpeg = base64.b64encode(b"jpeg").decode()
    shown = {
        "schema": 1, "rate": 25.0, "size": [64, 48], "duration_s": 5.6, "cuts": [2.0], "silence": [[1.0, 1.5]],
        "tracks": [{"id": 0, "first_frame": 0, "confidence": [1.0] * 140, "boxes": [[1, 2, 3, 4]] * 140}],
        "crops": [{"at": 0.5, "jpeg": jpeg}],
    }  # fmt: skip
    for score in scores:
        pictures.write(folder, "0ba8ae1bde991f3d", score, shown)
    page = page_of(folder, pictures=2)
    by_confidence = sorted(scores, key=lambda score: score.lse_c or 0)
    keys = {one["record"]["name"]: one["key"] for one in page.data["videos"]}
    assert set(page.data["boxes"]) == {keys[by_confidence[0].name], keys[by_confidence[-1].name]}
    assert sum(tag == "img" and (attrs["src"] or "").endswith(jpeg) for tag, attrs in page.tags) == 2


def test_silence_is_found_where_it_is() -> None:
    rng = np.random.default_rng(7)
    pcm = (rng.normal(0, 3000, 16000 * 3)).astype(np.int16)
    pcm[16000 : 16000 + 8000] = 3  # half a second
    pcm[40000:41600] = 0  # a pause of 0.1 s
    (found,) = pictures.silences(pcm)
    assert found == pytest.approx([1.0, 1.5], abs=0.05)
    assert pictures.silences(np.zeros(16000, np.int16)) == [[0.0, 1.0]]
    assert pictures.silences(np.zeros(0, np.int16)) == []


def test_the_command_scores_the_video_in_the_same_way() -> None:
    rng = np.random.default_rng(8)
    score = made_up("a b", rng, changed=("min_track=50 (wav2lip: 100)", "networks in bf16"), model="vgg")
    command = command_of(score, {})
    assert command == "lipscore score 'videos/a b.mp4' --min-track 50 --precision bf16 --protocol wav2lip --model vgg"
    whole = {"command": ["/x/bin/lipscore", "score", "in", "--detections", "boxes"], "options": {"detections": True}}
    assert command_of(score, whole) == "lipscore score in --detections boxes"
    heard = made_up("-a", rng, video="-a.mp4", changed=("audio=given (wav2lip: own)",), audio=GivenSound("b.wav", "00"))
    assert command_of(heard, {}) == "lipscore score ./-a.mp4 --protocol wav2lip --model mini --audio b.wav"
    unknown = made_up("a", rng, changed=("reduce=extremes (wav2lip: mean)",))
    assert command_of(unknown, whole | {"options": {}}) == "lipscore score in --detections boxes"


def test_the_svg_keeps_every_number_and_no_style() -> None:
    series = charts.Series("a", [1.0, 2.0, 2.5])
    text = charts.distribution([series, charts.Series("_b", [2.0, 3.0], None)], "$x$", "p")
    root = ElementTree.fromstring(text)
    words = {element.text for element in root.iter() if svg._name(element) == "text"}
    assert {"a", "_b", "$x$"} <= words
    assert not any(
        "style" in element.attrib or ("id" in element.attrib and not element.attrib["id"].startswith("p-"))
        for element in root.iter()
    )
    used = {value[5:-1] for e in root.iter() for value in e.attrib.values() if value.startswith("url(#")}
    used |= {v[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")}
    assert used and used <= {element.get("id") for element in root.iter()}


def test_curve_axes_say_where_the_values_lie() -> None:
    axes = charts.curve_axes([[3.0, 1.0, 2.0] + [2.0] * 28], "q")
    left, top, right, bottom = axes.box
    width, height = (float(value) for value in re.findall(r'viewBox="0 0 (\S+) (\S+)"', axes.svg)[0])
    assert 0 < left < right <= width and 0 < top < bottom < height
    ticks = {e.text: float(e.get("x") or "nan") for e in ElementTree.fromstring(axes.svg).iter() if e.text == "0"}
    if not np.isnan(ticks.get("0", np.nan)):
        assert ticks["0"] == pytest.approx((left + right) / 2, abs=1)
    assert axes.x == (-15, 15)
    assert axes.y[0] < 1.0 < 3.0 < axes.y[1]


def test_a_short_tracks_curve_has_no_values_at_its_ends(tmp_path: Path) -> None:
    """Mini leaves out shifts without a partner, which are NaN."""
    nan = float("nan")
    axes = charts.curve_axes([[nan, 3.0, 1.0, 2.0, nan]], "q")
    assert axes.x == (-2, 2) and axes.y[0] < 1.0 < 3.0 < axes.y[1]
    short = made_up("short", np.random.default_rng(1))
    curve = tuple([nan] * 7 + list(short.tracks[0].curve[7:-7]) + [nan] * 7)
    short = replace(short, tracks=(replace(short.tracks[0], curve=curve),))
    html = report([str(folder_of(tmp_path / "run", [short]))], tmp_path / "r.html").html
    (points,) = re.findall(rb'<polyline points="([^"]*)"', html)
    assert len(points.split()) == 17 and b"nan" not in points


def test_one_video_against_two_sounds_stands_twice(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    same = {"video": "v.mp4", "sha256": "ab"}
    (method,), _ = load([str(folder_of(tmp_path / "run", [made_up("one", rng, **same), made_up("two", rng, **same)]))])
    assert [record.score.name for record in method.records] == ["one", "two"]


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", run_of(3))
    target = tmp_path / "deep" / "page.html"
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(target)])
    assert (done.exit_code, done.stdout) == (0, f"{target}\n")
    assert target.read_bytes().startswith(b"<!doctype html>")
    assert CliRunner().invoke(app, ["report", str(tmp_path / "no"), "--out", str(target)]).exit_code == 3


@pytest.mark.slow
def test_score_keeps_the_pictures_of_what_it_scored(tmp_path: Path, mini_models: Models) -> None:
    run = CliRunner().invoke
    assert run(app, ["demo", str(tmp_path / "demo")]).exit_code == 0
    video = tmp_path / "demo" / "demo_audio_early.mp4"
    score = ["score", str(video), "--model", "mini", "--scores-file", str(tmp_path / "scores.txt")]
    assert run(app, [*score, "--out", str(tmp_path / "with"), "--keep-pictures"]).exit_code == 0
    assert run(app, [*score, "--out", str(tmp_path / "without")]).exit_code == 0
    (with_pictures,), _ = load([str(tmp_path / "with")])
    (without,), _ = load([str(tmp_path / "without")])
    record = with_pictures.records[0]
    assert record.settings == without.records[0].settings
    assert record.score.tracks == without.records[0].score.tracks
    found = pictures.read_kept(tmp_path / "with", record.score, record.settings)
    assert found is not None and pictures.read_kept(tmp_path / "without", record.score, record.settings) is None
    trace = Trace()
    stages.score_video(video, Setup(PROTOCOLS["wav2lip"], mini_models), trace=trace)
    (kept,) = trace.tracks
    assert found["tracks"][0]["confidence"] == pytest.approx(kept.confidence.tolist(), abs=0.02)
    assert kept.track is not None
    assert np.abs(np.array(found["tracks"][0]["boxes"]) - kept.track.boxes_xyxy).max() <= 0.5
    assert (found["cuts"], found["size"], found["rate"]) == ([], [480, 480], 25.0)
    assert len(found["crops"]) == 6
    for crop in found["crops"]:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(crop["jpeg"]), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (96, 96, 3)
