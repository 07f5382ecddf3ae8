"""What a reader sees: tables at every width, progress, --quiet, and names that would steer a terminal."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from lipscore.eval.cli import output, progress, tables
from lipscore.eval.cli.commands.results import reproduce
from lipscore.eval.cli.options import quietable
from lipscore.eval.grid import NARROWEST, Column, lay
from lipscore.eval.run.jobs import Job
from lipscore.eval.store import summary
from lipscore.eval.store.records import Record
from lipscore.eval.tools import reproduce as task
from lipscore.syncnet.models.published import Row
from lipscore.syncnet.protocols import PROTOCOLS, as_record, mean_to_report
from lipscore.types import TrackScore, VideoScore

LONG = "a_name_of_sixty_characters_0123456789_ABCDEFGHIJKLMNOPQRSTUV"
SCORED = VideoScore("in/a.mp4", "a", "", "ok", "", "wav2lip", "vgg", True, lse_d=6.7375, lse_c=8.39, offset=4)
SCORED = replace(SCORED, tracks=(TrackScore(0, 0, 99, 4, 6.7375, 8.39, 95, ()),), offset_ms=166.0)
WITH_REFERENCE = replace(SCORED, psnr=29.586, ssim=0.543)
FAILED = replace(SCORED, name="b", status="no_face", tracks=(), lse_d=None, lse_c=None, offset=None, offset_ms=None)


class Screen(io.StringIO):
    """A terminal's stream."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return Screen()


def rest_of(name: str, lines: list[str]) -> str:
    """What is missing of a name that stands at the beginning of consecutive lines."""
    for line in lines:
        fits = max((size for size in range(len(name) + 1) if line.startswith(name[:size])), default=0)
        name = name[fits:]
    return name


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("score", [SCORED, WITH_REFERENCE], ids=["lse", "all"])
def test_a_table_shows_whole_names_and_numbers_at_any_width(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, columns: int, score: VideoScore
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = [Record(replace(score, name=LONG)), Record(replace(FAILED, name="b"))]
    lines = tables.results(found, screen).splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert rest_of(LONG, lines) == "" and any(re.match(r"b\b", line) for line in lines)
    text = "\n".join(lines)
    for number in ("6.737", "8.390", *(["29.586", "0.543"] if score is WITH_REFERENCE else [])):
        assert re.search(rf"(?<![\d.]){number}(?![\d.…])", text), number
    assert "…" not in text and "no_face" in text
    left_out = re.search(r"\((.*): not shown", text)
    assert left_out is None or set(left_out[1].split(", ")) <= {"tracks", "ms"}


def test_a_pipe_gets_a_line_per_video() -> None:
    lines = tables.results([Record(replace(WITH_REFERENCE, name=LONG)), Record(FAILED)], io.StringIO()).splitlines()
    assert [line.split()[0] for line in lines] == ["video", LONG, "b"]
    assert lines[1].split()[1:] == ["1", "4", "+166", "6.737", "8.390", "29.586", "0.543", "ok"]


def test_columns_without_a_value_are_not_shown_and_arrows_only_where_they_can_be() -> None:
    def titles(stream: IO[str]) -> list[str]:
        return re.split(" {2,}", tables.results([Record(SCORED), Record(FAILED)], stream).splitlines()[0])

    assert titles(io.StringIO()) == ["video", "tracks", "offset", "ms", "LSE-D ↓", "LSE-C ↑", "status"]
    assert titles(io.TextIOWrapper(io.BytesIO(), "ascii"))[4:6] == ["LSE-D", "LSE-C"]


words = st.text(st.characters(categories=["L", "N"], max_codepoint=0x3000), min_size=1, max_size=70)
numbers = st.from_regex(r"-?[0-9]{1,3}\.[0-9]{3}", fullmatch=True)


@given(rows=st.lists(st.tuples(words, numbers, numbers, numbers), min_size=1, max_size=4), width=st.integers(10, 130))
def test_whatever_the_width_nothing_is_cut_and_nothing_overflows(
    rows: list[tuple[str, str, str, str]], width: int
) -> None:
    columns = [Column("video", left=True, breaks=True), Column("few", spare=1), Column("LSE-D"), Column("LSE-C")]
    lines = lay(columns, rows, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    for name, _, d, c in rows:
        assert any(d in line for line in lines) or width < 2 + len(f"LSE-D {d}")
        assert any(c in line for line in lines) or width < 2 + len(f"LSE-C {c}")
        assert len(rows) > 1 or rest_of(name, [line for line in lines if not line.startswith("video ")]) == ""
    natural = lay(columns, rows).splitlines()
    if max(map(cell_len, natural)) <= width:
        assert lines == natural
    assert NARROWEST < 40


def test_the_mean_to_report_is_named_only_if_the_two_differ() -> None:
    second = replace(SCORED, tracks=(*SCORED.tracks, TrackScore(1, 0, 99, 4, 9.0, 2.0, 95, ())), lse_d=7.87, lse_c=5.2)
    same = summary.lines(summary.summarise([Record(SCORED)], 1), "rows")
    assert same[0] == "mean over rows and videos: LSE-D 6.737500 (n=1)  LSE-C 8.390000 (n=1)"
    both = summary.summarise([Record(SCORED), Record(second)], 2)
    assert [line.endswith("<- report this one") for line in summary.lines(both, "rows")] == [True, False, False]
    assert [line.endswith("<- report this one") for line in summary.lines(both, "videos")] == [False, True, False]
    by_name = {name: mean_to_report(as_record(protocol)) for name, protocol in PROTOCOLS.items()}
    assert {name for name, which in by_name.items() if which == "videos"} == {"mochabench", "latentsync", "lipscore-1"}


def test_the_time_left_counts_only_what_this_run_scored() -> None:
    now = [0.0]
    pace = progress.Pace(lambda: now[0])
    for done in range(1, 7):
        pace.finished(done, 12, resumed=True)
        assert pace.left() == ""
    now[0] = 20.0
    pace.finished(7, 12, resumed=False)
    assert pace.left() == "0:01:40 left"
    now[0] = 30.0
    assert pace.left() == "0:01:30 left"
    pace.finished(8, 12, resumed=False)
    assert pace.left() == "0:01:00 left"
    now[0] = 500.0
    assert pace.left() == ""  # overdue: no number is better than one that stands at 0
    pace.finished(12, 12, resumed=False)
    assert pace.left() == ""


def test_results_stand_above_the_bar(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", screen)
    with progress.Terminal().videos(2) as shown:
        shown.started(Job(Path("a.mp4"), "a"))
        shown.finished(1, 2, Record(SCORED), False, 1.5)
        shown.finished(2, 2, Record(FAILED), True, 0.0)
    said = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue())
    assert "[1/2] a: 1 track, offset 4, audio early by 166 ms, LSE-D 6.737, LSE-C 8.390 (1.5 s)\n" in said
    assert "[2/2] b: no_face" in said and "(scored before)\n" in said
    assert "-:--:--" not in said


def run(function: object, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(function)  # type: ignore[type-var]
    return CliRunner().invoke(app, list(arguments))


@quietable
def _talkative() -> None:
    noted = replace(SCORED, notes=("cut short",))
    with progress.Terminal().videos(3) as shown:
        for done, score in enumerate((SCORED, FAILED, noted), start=1):
            shown.finished(done, 3, Record(score), False, 1.0)
    progress.steps_progress()("training", 1, 2)
    output.tell("a step")
    output.say("a warning")
    output.show("a table")
    output.emit("{}")
    raise typer.Exit(1)


def test_quiet_leaves_errors_warnings_json_and_the_exit_status() -> None:
    loud, quiet = run(_talkative), run(_talkative, "-q")
    assert loud.exit_code == quiet.exit_code == run(_talkative, "--quiet").exit_code == 1
    assert loud.stdout == "a table\n{}\n" and quiet.stdout == "{}\n"
    assert len(loud.stderr.splitlines()) == 6
    assert quiet.stderr == "b: no_face: \na: cut short\na warning\n"
    assert run(_talkative).stdout == loud.stdout  # it lasts for one command


STEERING = "a\x1b[31m\x07\x9b2J\u202egpj\r.mp4"


def test_what_would_steer_a_terminal_is_printed_as_escapes() -> None:
    @quietable
    def bad() -> None:
        output.say(STEERING)
        output.show(STEERING)
        output.emit(json.dumps({"name": STEERING}, ensure_ascii=False))
        raise output_error(STEERING)

    result = run(bad)
    assert result.exit_code == 3 and STEERING in json.loads(result.stdout.splitlines()[-1])["name"]
    assert result.stderr.count(r"a\u001b[31m\u0007\u009b2J\u202egpj\u000d.mp4") == 2
    assert result.stdout.startswith(r"a\u001b[31m") and not set("\x1b\x07\x9b\u202e\r") & set(result.output)


def output_error(path: str) -> Exception:
    from lipscore.errors import MissingError

    return MissingError(f"{path}: there is no such file")


def compared(name: str, d: float | None, verdict: str = "same") -> task.Comparison:
    row = Row(name, (4,), 6.7, 8.4)
    if d is None:
        return task.Comparison(row, None, None, None, "missing", f"no file {name}")
    return task.Comparison(row, SCORED, d, -2 * d, verdict)


def test_reproduce_sums_up_and_prints_whole_names_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = [compared("[/bold]x.mp4", 0.001), compared(f"{LONG}.mp4", -0.003, "differs"), compared("gone.mp4", None)]
    found = task.summarise(done)
    assert (found.same, found.differs, found.missing, found.n) == (1, 1, 1, 2)
    assert (found.max_lse_d, found.mean_lse_d) == (0.003, 0.002)
    assert (found.max_lse_c, found.mean_lse_c) == (0.006, 0.004)
    assert task.summarise(done[2:]).max_lse_d is None

    monkeypatch.setattr(task, "reproduce", lambda *_: iter(done))
    monkeypatch.setattr("lipscore.eval.cli.options.load_setup", lambda *_: None)
    text = "clip,offsets,lse_c,lse_d,has_face\n" + "".join(f"{one.row.clip},[4],8.4,6.7,True\n" for one in done)
    (tmp_path / "table.csv").write_text(text)
    arguments = ("mochabench", "--table", str(tmp_path / "table.csv"))
    result = run(reproduce, *arguments)
    assert result.exit_code == 1, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["video", "[/bold]x.mp4", f"{LONG}.mp4", "gone.mp4"]
    assert lines[2].split()[1:] == ["4", "6.737", "6.700", "+0.0010", "8.390", "8.400", "-0.0020", "same"]
    assert "difference over 2 videos: LSE-D largest 0.003000, mean 0.002000" in lines[5]
    assert lines[6] == "same 1, differs 1, missing 1"
    assert result.stderr.splitlines()[0] == "[1/3] [/bold]x.mp4: same" and "[3/3] gone.mp4: missing" in result.stderr
    *videos, last = map(json.loads, run(reproduce, *arguments, "--json", "-q").stdout.splitlines())
    assert [one["video"] for one in videos] == [one.row.clip for one in done]
    assert videos[0]["d_lse_d"] == 0.001 and videos[2]["lse_d"] is None
    assert last["summary"]["max_lse_d"] == 0.003 and last["summary"]["n"] == 2
