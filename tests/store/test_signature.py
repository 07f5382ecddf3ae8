"""The signature: a run's line is read back as it was written, and what moves a number changes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lipscore import Models, get_protocol
from lipscore.demo.clips import render_clip
from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.options import ReferenceOptions
from lipscore.eval.setup import Setup
from lipscore.eval.store.records import read_records
from lipscore.eval.store.signature import Signature, difference, parse
from lipscore.syncnet.models.mini import mini_sha256
from lipscore.syncnet.protocols import change


@given(st.dictionaries(st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True), st.text(), max_size=5), st.text())
@example({}, " ")
def test_what_is_written_is_what_is_read(further: dict[str, str], version: str) -> None:
    further.pop("lipscore", None)
    signature = Signature({"lipscore": version, **further})
    line = str(signature)
    assert line.isprintable() and parse(line) == signature


@pytest.mark.parametrize(
    "text", ["", "lipscore", "model:vgg", "lipscore:1|model", "lipscore:1|model:a|model:b", "lipscore:1|| "]
)
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="signature"):
        parse(text)


def test_n_alone_makes_no_difference() -> None:
    signature = Signature({"lipscore": "1", "model": "vgg@12"})
    assert difference(signature.with_n(3, 4), signature.with_n(1, 1)) == ""
    other = Signature({"lipscore": "1", "model": "mini@34", "changed": "x=1"})
    assert difference(signature, other) == "model vgg@12 and mini@34, changed none and x=1"


def test_whatever_moves_a_number_moves_the_signature(mini_models: Models) -> None:
    setup = Setup(get_protocol("lipscore-1"), mini_models)
    same = setup.signature
    assert same.values["model"] == f"mini@{mini_sha256()[:12]}"
    assert same.values["protocol"] == f"lipscore-1@{setup.protocol.hash}"
    others = [
        replace(setup, protocol=get_protocol("wav2lip")),
        replace(setup, protocol=change(setup.protocol, {"min_track": 60})),
        replace(setup, models=replace(mini_models, detector="given")),
        replace(setup, models=replace(mini_models, changed=("networks in bf16",))),
        replace(setup, reference=ReferenceOptions(region="mouth")),
        replace(setup, reference=ReferenceOptions(align="shift")),
    ]
    lines = {str(other.signature) for other in others} | {str(same)}
    assert len(lines) == len(others) + 1
    assert str(replace(setup, protocol=change(setup.protocol, {"batch_size": 3})).signature) == str(same)


def test_the_line_that_a_run_prints_is_that_of_its_records_and_its_manifest(tmp_path: Path) -> None:
    render_clip(tmp_path / "clip.mp4", seed=3, seconds=1.6, size=(224, 224))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    options = ["--protocol", "wav2lip-lrs", "--model", "mini", "--out", str(tmp_path / "out")]
    files = ["--scores-file", str(tmp_path / "all_scores.txt")]
    done = CliRunner().invoke(
        app, ["score", str(tmp_path / "clip.mp4"), str(tmp_path / "broken.mp4"), *options, *files]
    )
    assert done.exit_code == 1
    line = next(line for line in done.stdout.splitlines() if line.startswith("signature: "))
    text = line.removeprefix("signature: ")
    printed = parse(text)
    assert printed.values["n"] == "1/2"
    assert json.loads((tmp_path / "out" / "run.json").read_text())["signature"] == text
    records, _ = read_records(tmp_path / "out" / "scores.jsonl")
    assert {record.score.signature for record in records} == {str(Signature(printed.deciding))}
    header, *rows = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    assert ",signature," in header and all(str(Signature(printed.deciding)) in row for row in rows)
    explained = CliRunner().invoke(app, ["signature", text])
    assert explained.exit_code == 0 and "estimates" in explained.stdout and "of how many" in explained.stdout
    other = CliRunner().invoke(app, ["signature", text, text.replace("wav2lip-lrs", "joonson")])
    assert other.exit_code == 1 and "not comparable: protocol" in other.stdout
