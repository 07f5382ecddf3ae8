"""lipscore table: hand-made results come out as numbers worked out by hand, in every format."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lipscore.eval.cli.main import app
from lipscore.eval.report.table.formats import escaped
from lipscore.eval.store.records import Record, RecordStore
from lipscore.eval.store.signature import Signature
from lipscore.metrics.compare import interval_of_mean, randomisation_p
from lipscore.types import TrackScore, VideoScore

SIGNED = Signature({"lipscore": "0.2.0", "protocol": "wav2lip@12", "model": "vgg@34"})
# name -> (LSE-D, LSE-C, offset in ms); None: no face
REAL = {"a": (7.0, 6.0, 4.0), "b": (7.4, 5.0, -8.0), "c": (7.2, 7.0, 0.0), "d": (7.0, 6.0, 0.0)}
GOOD = {"a": (6.8, 6.5, 10.0), "b": (7.2, 5.5, -50.0), "c": (7.0, 6.5, 30.0), "d": (9.0, 1.0, 0.0)}
POOR = {"a": (8.0, 4.0, 100.0), "b": (8.4, 4.5, -20.0), "c": (8.2, 4.0, 0.0), "d": None}
Numbers = Mapping[str, tuple[float, float, float] | None]


def wrote(folder: Path, numbers: Numbers, signature: Signature = SIGNED, **changes: Any) -> Path:
    store = RecordStore(folder)
    for name, values in numbers.items():
        made: dict[str, Any] = {"status": "no_face", "reason": "no face"}
        if values is not None:
            lse_d, lse_c, ms = values
            track = TrackScore(0, 0, 99, round(ms / 40), lse_d, lse_c, 95, (), ms)
            made = {"status": "ok", "reason": "", "tracks": (track,), "lse_d": lse_d, "lse_c": lse_c, "offset_ms": ms}
        of = {"video": f"{folder.name}/{name}.mp4", "name": name, "sha256": "", "protocol": "wav2lip", "model": "vgg"}
        score = VideoScore(**{**of, "comparable": True, "signature": str(signature), **made, **changes})
        store.append(Record(score, str(signature), f"{folder.name}{name}"))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {name: wrote(tmp_path / name, numbers) for name, numbers in (("real", REAL), ("good", GOOD), ("poor", POOR))}


def table(folders: Mapping[str, Path], *options: str | Path) -> Result:
    named = [f"{name}={folder}" for name, folder in folders.items()]
    return CliRunner().invoke(app, ["table", *named, *map(str, options)])


def as_json(folders: Mapping[str, Path], *options: str | Path) -> dict[str, Any]:
    done = table(folders, "--format", "json", *options)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def method(content: dict[str, Any], name: str, group: int = 0) -> dict[str, Any]:
    (found,) = [row for row in content["tables"][group]["methods"] if row["name"] == name]
    return dict(found)


def test_the_numbers_are_those_worked_out_by_hand(folders: dict[str, Path]) -> None:
    content = as_json(folders, "--real", "real", "--standard", "ebu-r37")
    (made,) = content["tables"]
    assert (made["videos"], made["left_out"], made["base"]) == (3, 1, "real")  # d has no face in poor
    good, poor, real = (method(content, name) for name in ("good", "poor", "real"))
    assert real["kind"] == "real" and (poor["scored"], poor["failed"]) == (3, {"no_face": 1})
    lse_c = good["cells"]["lse_c"]
    assert lse_c["mean"] == pytest.approx((6.5 + 5.5 + 6.5) / 3) and lse_c["n"] == 3
    assert good["cells"]["lse_d"]["mean"] == pytest.approx(7.0)
    assert good["cells"]["abs_offset_ms"]["mean"] == pytest.approx(30) and poor["cells"]["abs_offset_ms"]["mean"] == 40
    against = lse_c["against"]
    differences = [0.5, 0.5, -0.5]
    assert against["difference"] == pytest.approx(np.mean(differences)) and against["n"] == 3
    assert against["better"] == pytest.approx(2 / 3)
    assert good["cells"]["lse_d"]["against"]["better"] == 1  # all three are lower than their real partner
    # both signs of three differences: |sum| is at least 0.5 for all of the 8
    assert against["p"] == 1 == randomisation_p(differences)
    interval = interval_of_mean([6.5, 5.5, 6.5])
    assert (lse_c["interval"]["low"], lse_c["interval"]["high"]) == pytest.approx((interval.low, interval.high))
    assert (lse_c["rank"], poor["cells"]["lse_c"]["rank"], real["cells"]["lse_c"]["rank"]) == (1, 2, 0)
    assert good["within"] == pytest.approx(1) and poor["within"] == pytest.approx(2 / 3)
    # 2 methods x 3 metrics are one family; every p of three pairs is 0.25 or 1
    smallest = poor["cells"]["lse_d"]["against"]
    assert (smallest["p"], smallest["p_holm"]) == (0.25, 1.0)
    assert [note for note in made["notes"] if note.startswith("warning: good has a better mean LSE-C than real")]
    assert not [note for note in made["notes"] if note.startswith("warning: poor")]


def test_each_its_own_takes_every_scored_video(folders: dict[str, Path]) -> None:
    content = as_json(folders, "--each-its-own")
    good = method(content, "good")["cells"]["lse_c"]
    assert good["n"] == 4 and good["mean"] == pytest.approx((6.5 + 5.5 + 6.5 + 1.0) / 4)
    poor = method(content, "poor")["cells"]["lse_c"]
    assert poor["n"] == 3 and poor["against"]["n"] == 3  # against the first row, over what both have
    assert poor["against"]["difference"] == pytest.approx((4 + 4.5 + 4 - 6 - 5 - 7) / 3)


def test_groups_have_tables_of_their_own_against_the_same_groups_reference(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("video,language\na,de\nb,de\nd,fr\n")
    done = table(folders, "--real", "real", "--groups", groups, "--format", "json")
    content = json.loads(done.stdout)
    assert [made["group"] for made in content["tables"]] == ["", "language = de"]
    german = method(content, "good", 1)["cells"]["lse_c"]
    assert german["mean"] == pytest.approx(6.0) and german["against"]["difference"] == pytest.approx(0.5)
    assert "language = fr: no video" in done.stderr and "no language for 1 videos, such as c" in done.stderr
    groups.write_text("video,language\na,de\na,fr\n")
    assert "twice" in table(folders, "--groups", groups).stderr
    groups.write_text("video\na\n")
    assert table(folders, "--groups", groups).exit_code == 2


def test_what_was_scored_differently_is_not_compared_unless_asked(folders: dict[str, Path], tmp_path: Path) -> None:
    other = Signature({**SIGNED.values, "protocol": "joonson@56"})
    folders["poor"] = wrote(tmp_path / "other", POOR, other)
    refused = table(folders)
    assert refused.exit_code == 2 and "protocol wav2lip@12 and joonson@56" in refused.stderr
    taken = table(folders, "--allow-mixed")
    assert taken.exit_code == 0 and "protocol wav2lip@12 and joonson@56" in taken.stderr
    assert taken.stdout.count("signature of") == 2


def test_results_without_a_signature_are_told_apart_by_what_they_have(tmp_path: Path) -> None:
    old = {"a": wrote(tmp_path / "x", REAL, signature=Signature({})), "b": wrote(tmp_path / "y", GOOD, Signature({}))}
    assert table(old).exit_code == 0
    old["b"] = wrote(tmp_path / "z", GOOD, Signature({}), model="mini")
    old["b"].joinpath("scores.jsonl").write_text(
        old["b"].joinpath("scores.jsonl").read_text().replace('"settings": ""', '"settings": "other"')
    )
    assert "model vgg and mini" in table(old).stderr


def test_estimates_say_that_they_are(tmp_path: Path) -> None:
    made = {name: wrote(tmp_path / name, numbers, model="mini") for name, numbers in (("a", REAL), ("b", GOOD))}
    for form in ("text", "markdown", "latex"):
        said = table(made, "--format", form).stdout
        assert "estimates" in said and ("LSE-D~" in said or r"LSE-D\textasciitilde{}" in said)


def test_the_floor_and_what_is_above_it(folders: dict[str, Path]) -> None:
    floors = [{"name": name, "lse_d": 10.0, "lse_c": 1.0} for name in "abcd"]
    (folders["good"] / "floor.json").write_text(json.dumps({"videos": floors, "signature": str(SIGNED)}))
    (folders["poor"] / "floor.json").write_text(json.dumps({"videos": floors, "signature": "lipscore:of another run"}))
    content = as_json(folders)
    assert method(content, "good")["above_floor"] == pytest.approx({"lse_d": 3.0, "lse_c": 6.1666666 - 1})
    floor = method(content, "good, others' sound")
    assert not method(content, "poor")["above_floor"]
    assert floor["kind"] == "floor" and floor["cells"]["lse_c"]["mean"] == 1.0 and floor["cells"]["lse_c"]["rank"] == 0


def test_differences_inside_the_noise_band_are_marked(folders: dict[str, Path], tmp_path: Path) -> None:
    bands = {"lse_c": {"video": 1.0, "mean": 0.2}, "lse_d": {"video": 2.0, "mean": 2.0}}
    (tmp_path / "noise.json").write_text(json.dumps({"bands": bands}))
    content = as_json(folders, "--noise", tmp_path / "noise.json")
    good, poor = method(content, "good")["cells"], method(content, "poor")["cells"]
    assert good["lse_c"]["against"]["in_noise"] and not poor["lse_c"]["against"]["in_noise"]
    assert poor["lse_d"]["like_best"] and not poor["lse_c"]["like_best"]
    assert table(folders, "--noise", tmp_path / "none.json").exit_code == 3


def test_a_metric_that_some_videos_lack_is_averaged_over_those_that_all_have(tmp_path: Path) -> None:
    """good has a PSNR of a and b alone, and is 1 dB worse than poor on both; real video has none."""
    of = {"real": {}, "good": {"a": 30.0, "b": 40.0}, "poor": {"a": 31.0, "b": 41.0, "c": 51.0, "d": 61.0}}
    folders = {}
    for name, values in of.items():
        for video, numbers in REAL.items():
            folders[name] = wrote(tmp_path / name, {video: numbers}, psnr=values.get(video))
    content = as_json(folders)
    cells = {name: method(content, name)["cells"]["psnr"] for name in of}
    assert [(cells[name]["mean"], cells[name]["n"], cells[name]["rank"]) for name in of] == [
        (None, 0, 0),
        (35.0, 2, 2),
        (36.0, 2, 1),
    ]
    assert method(content, "poor")["cells"]["lse_d"]["n"] == 4
    assert any(note.startswith("PSNR: means over 2 of these videos") for note in content["tables"][0]["notes"])
    assert not any(note.startswith("LSE-D") for note in content["tables"][0]["notes"])
    own = method(as_json(folders, "--each-its-own"), "poor")["cells"]["psnr"]
    assert (own["mean"], own["n"]) == (46.0, 4)


def test_the_offset_of_a_still_mouth_is_part_of_no_mean(tmp_path: Path) -> None:
    track = TrackScore(0, 0, 99, 0, 7.0, 6.0, 95, (), 4.0, 0.01)
    folder = wrote(tmp_path / "r", {"b": REAL["b"]})
    wrote(folder, {"a": REAL["a"]}, tracks=(track,))
    row = method(as_json({"r": folder}, "--standard", "ebu-r37"), "r")
    assert (row["cells"]["abs_offset_ms"]["mean"], row["cells"]["abs_offset_ms"]["n"]) == (8.0, 1)
    assert row["cells"]["lse_d"]["n"] == 2 and row["within"] == 1.0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("floor.json", {"videos": [{"lse_d": 1.0}]}),
        ("floor.json", {"videos": [1]}),
        ("noise.json", {"bands": {"lse_d": {"video": 1.0}}}),
        ("noise.json", {"bands": {"lse_d": 1.0}}),
    ],
)
def test_a_floor_or_a_band_of_another_form_is_said(tmp_path: Path, name: str, content: dict[str, Any]) -> None:
    folder = wrote(tmp_path / "r", REAL)
    (folder / name).write_text(json.dumps({"signature": str(SIGNED), **content}))
    done = table({"r": folder}, "--noise", folder) if name == "noise.json" else table({"r": folder})
    assert done.exit_code == 3 and f"{folder / name}: is no" in done.stderr


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    """Two runs over different folders into one place: nobody can say which of the two the table is to show."""
    folder = wrote(tmp_path / "r", {"a": REAL["a"]}, video="x/a.mp4", sha256="1")
    wrote(folder, {"a": REAL["b"]}, video="y/a.mp4", sha256="2")
    done = table({"r": folder})
    assert done.exit_code == 2 and "two videos named a, x/a.mp4 and y/a.mp4" in done.stderr
    same = wrote(tmp_path / "s", {"a": REAL["a"]}, video="x/a.mp4", sha256="1")
    wrote(same, {"a": REAL["a"]}, video="moved/a.mp4", sha256="1")
    assert table({"s": same}).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["good"], 2, "NAME=RESULTS"),
        (["good=nowhere"], 3, "no scores.jsonl"),
        (["good={good}", "good={poor}"], 2, "the same name (good, good)"),
        (["good={good}", "--real", "x"], 2, "no results have this name; they are good"),
        (["good={good}", "--format", "word"], 2, "markdown"),
        (["good={good}", "other={other}"], 2, "no video has a score of all"),
    ],
)
def test_what_cannot_be_a_table_is_said(
    folders: dict[str, Path], tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    folders["other"] = wrote(tmp_path / "other", {"elsewhere": REAL["a"]})
    given = [argument.format(**folders) for argument in arguments]
    done = CliRunner().invoke(app, ["table", *given])
    assert done.exit_code == status and said in done.stderr


def test_text_and_markdown_mark_the_best_and_the_second(folders: dict[str, Path]) -> None:
    text = table(folders, "--real", "real").stdout
    assert "6.167 [" in text and "] (1)" in text and "3, 1 failed (no_face 1)" in text
    assert "LSE-D ↓" in text and "|offset| ms ↓" in text and "3 videos that all have scored; 1 left out" in text
    assert f"signature of real, good, poor: {SIGNED}|n:4/4" not in text  # n differs, so poor has its own
    assert f"signature of poor: {SIGNED}|n:3/4" in text
    written = table(folders, "--format", "markdown").stdout
    assert "**6.167**" in written and "<u>6.000</u>" in written  # of methods; a reference has no rank


def test_csv_holds_what_json_holds(folders: dict[str, Path]) -> None:
    content = as_json(folders, "--real", "real")
    rows = list(csv.DictReader(io.StringIO(table(folders, "--real", "real", "--format", "csv").stdout)))
    assert len(rows) == 9
    for row in rows:
        cell = method(content, row["method"])["cells"][row["metric"]]
        assert float(row["mean"]) == pytest.approx(cell["mean"])
        assert row["p"] == ("" if cell["against"] is None else str(cell["against"]["p"]))


def test_latex_is_a_whole_table(folders: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "table.tex"
    done = table(folders, "--real", "real", "--format", "latex", "--out", target)
    assert done.exit_code == 0
    written = target.read_text()
    assert r"\textbf{6.167}" in written and r"\underline{4.167}" in written and r"\toprule" in written
    assert escaped("a_b & 50 %") == r"a\_b \& 50 \%"


def test_latex_compiles(folders: dict[str, Path], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None or subprocess.run(["kpsewhich", "booktabs.sty"], stdout=-3).returncode:
        pytest.skip("no pdflatex with booktabs here (Debian: texlive-latex-base, texlive-latex-recommended)")
    odd = {r"50 % of_a & b\c": folders["good"], "x^2 ~ #1 {$}": folders["poor"], "real": folders["real"]}
    written = table(odd, "--real", "real", "--standard", "ebu-r37", "--format", "latex").stdout
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + written + r"\end{document}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
