"""The pages in a real browser: Debian's chromium without a window, driven by selenium."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from report_files import folder_of, run_of
from test_serve import Start, servers
from typer.testing import CliRunner

from lipscore import Models
from lipscore.eval.cli.main import app
from lipscore.eval.report.page.page import report
from lipscore.media.edit import shift_audio

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow

SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Open = Callable[..., "Chrome"]
BOXES_DRAWN = (
    "const c = document.querySelector('.stage canvas'), d = c.getContext('2d');"
    "return d.getImageData(0, 0, c.width, c.height).data.some((value) => value > 0)"
)


@pytest.fixture
def browser() -> Iterator[Open]:
    """A function that opens a page in a window of a width; script can be off."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)")
    opened: list[Chrome] = []

    def opening(url: str, width: int = 1280, height: int = 900, *, script: bool = True) -> Chrome:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for switch in SWITCHES:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not script:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        chrome: Chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        opened.append(chrome)
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        chrome.get(url)
        return chrome

    yield opening
    for chrome in opened:
        chrome.quit()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini_models: Models) -> Iterator[Start]:
    with servers(tmp_path, monkeypatch, mini_models) as function:
        yield function


def faults(chrome: Chrome) -> list[str]:
    """What the console complains of."""
    return [entry["message"] for entry in chrome.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def violations(chrome: Chrome) -> list[str]:
    """The rules of axe-core that the page breaks seriously; skips where axe-core is not installed."""
    place = os.environ.get("LIPSCORE_AXE", "")
    if not place and shutil.which("npm"):
        root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False).stdout.strip()
        place = str(Path(root) / "axe-core" / "axe.min.js")
    if not place or not Path(place).is_file():
        pytest.skip("axe-core is not here: npm install -g axe-core, or set LIPSCORE_AXE to its axe.min.js")
    chrome.execute_cdp_cmd("Runtime.evaluate", {"expression": Path(place).read_text("utf-8")})
    chrome.set_script_timeout(120)
    found: list[dict[str, Any]] = chrome.execute_async_script(
        "const done = arguments[0]; axe.run(document).then((result) => done(result.violations));"
    )
    return [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what must become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)


def names(chrome: Chrome) -> list[str]:
    """The videos that the table shows, in its order."""
    found: list[str] = chrome.execute_script(
        "return [...document.querySelectorAll('#table tbody tr')].filter((row) => !row.hidden)"
        ".map((row) => row.cells[0].textContent)"
    )
    return found


def press(chrome: Chrome, selector: str) -> None:
    chrome.find_element("css selector", selector).click()


def choose(chrome: Chrome, name: str, value: str) -> None:
    """Set a control as a user does."""
    chrome.execute_script(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event('input', {bubbles: true}));",
        name,
        value,
    )


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """The page of 160 videos of two methods, the first with failures."""
    target = tmp_path / "report.html"
    folders = (f"a={folder_of(tmp_path / 'a', run_of(160, 1, 4))}", f"b={folder_of(tmp_path / 'b', run_of(160, 2))}")
    target.write_bytes(report(folders, target).html)
    return target


def test_a_report_of_160_videos_sorts_filters_opens_and_switches(browser: Open, big: Path) -> None:
    chrome = browser(big.as_uri())
    everything = names(chrome)
    assert len(everything) == 320
    press(chrome, "#table thead th button")
    assert names(chrome) == sorted(everything)
    press(chrome, "#table thead th button")
    assert names(chrome) == sorted(everything, reverse=True)
    choose(chrome, "search", "CLIP_0007")
    assert names(chrome) == ["clip_0007", "clip_0007"]
    choose(chrome, "method", "1")
    assert names(chrome) == ["clip_0007"]
    choose(chrome, "search", "")
    choose(chrome, "method", "")
    choose(chrome, "status", "no_face")
    assert len(names(chrome)) == 4
    choose(chrome, "status", "")
    choose(chrome, "offset", "90 185")
    assert 0 < len(names(chrome)) < 320
    choose(chrome, "offset", "")
    assert chrome.find_element("id", "count").text == "320 of 320 shown"

    chrome.execute_script("document.getElementById('v0-3').querySelector('button').click()")
    panel = chrome.find_element("id", "panel")
    assert panel.is_displayed() and "clip_0003" in panel.text and "lipscore score" in panel.text
    assert panel.find_element("css selector", "polyline.curve").is_displayed()
    chrome.find_element("tag name", "body").send_keys("\ue00c")  # Escape
    until(lambda: not panel.is_displayed())

    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = []
    for _ in range(3):
        press(chrome, "#theme")
        seen.append(chrome.execute_script(ground))
    assert len(set(seen)) == 2
    assert faults(chrome) == []


def test_a_report_prints(browser: Open, big: Path) -> None:
    chrome = browser(big.as_uri())
    pdf = base64.b64decode(chrome.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") > 4
    assert len(pdf) > 50_000


@pytest.mark.parametrize("width", [1280, 400])
def test_a_report_is_accessible_and_as_wide_as_the_window(browser: Open, big: Path, width: int) -> None:
    chrome = browser(big.as_uri(), width)
    assert chrome.execute_script(
        "return document.documentElement.scrollWidth <= innerWidth && innerWidth == arguments[0]", width
    )
    for theme in ("light", "dark"):
        chrome.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        assert violations(chrome) == []
    chrome.execute_script("document.getElementById('v0-3').querySelector('button').click()")
    assert violations(chrome) == []


def test_a_report_reads_without_script(browser: Open, big: Path) -> None:
    chrome = browser(big.as_uri(), script=False)
    assert len(chrome.find_elements("css selector", "#table tbody tr")) == 320
    charts = chrome.find_elements("css selector", "svg.chart")
    assert len(charts) >= 7 and all(chart.is_displayed() and chart.size["height"] > 100 for chart in charts)
    assert not chrome.find_element("css selector", ".controls").is_displayed()
    assert chrome.find_element("css selector", "a[download]").is_displayed()


def test_a_thousand_videos_are_there_at_once(browser: Open, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_bytes(report([str(folder_of(tmp_path / "run", run_of(1000, 3, 20)))], target).html)
    chrome = browser(target.as_uri())
    timing = "const [one] = performance.getEntriesByType('navigation'); return one.loadEventEnd - one.startTime"
    assert 0 < chrome.execute_script(timing) < 10_000
    sorting = "const a = performance.now(); document.querySelector('#table thead th button').click();"
    assert chrome.execute_script(sorting + "document.body.offsetHeight; return performance.now() - a") < 5_000


def test_the_demonstration_clips_with_pictures_and_video(browser: Open, tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["demo", str(tmp_path / "demo")]).exit_code == 0
    out = tmp_path / "out"
    score = ["score", str(tmp_path / "demo"), "--model", "mini", "--keep-pictures", "--out", str(out)]
    assert run(app, [*score, "--scores-file", str(tmp_path / "scores.txt")]).exit_code == 0
    assert run(app, ["report", str(out), "--out", str(tmp_path / "r.html")]).exit_code == 0
    chrome = browser((tmp_path / "r.html").as_uri())
    assert sorted(names(chrome)) == ["demo_audio_early", "demo_distorted", "demo_in_sync"]
    chrome.execute_script(
        "[...document.querySelectorAll('#table tbody th button')]"
        ".find((button) => button.textContent === 'demo_audio_early').click()"
    )
    panel = chrome.find_element("id", "panel")
    assert re.search(r"audio early by 1[4-7]\d ms \(4 frames\)", panel.text)  # between frames
    assert len(panel.find_elements("css selector", ".crops img")) == 6
    sizes = "return [...document.querySelectorAll('#panel .crops img')].map((image) => image.naturalWidth)"
    assert chrome.execute_script(sizes) == [96] * 6
    until(lambda: chrome.execute_script("return document.querySelector('#panel video').readyState >= 2"))
    until(lambda: chrome.execute_script(BOXES_DRAWN))
    assert faults(chrome) == []


def test_a_video_is_sent_scored_and_mended(browser: Open, start: Start, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    assert CliRunner().invoke(app, ["demo", str(videos)]).exit_code == 0
    server = start(folder=videos)
    chrome = browser(f"http://127.0.0.1:{server.port}/")
    assert violations(chrome) == []
    chrome.find_element("id", "file").send_keys(str(videos / "demo_audio_early.mp4"))
    seen: set[str] = set()

    def done() -> bool:
        seen.add(chrome.find_element("id", "stage").text)
        return chrome.find_element("id", "result").is_displayed()

    until(done, 300)
    assert "looking for faces" in seen
    assert chrome.find_element("id", "result-name").text == "demo_audio_early.mp4"
    panel = chrome.find_element("id", "panel-body")
    assert re.search(r"audio early by 1[4-7]\d ms \(4 frames\)", panel.text)  # between frames
    assert len(panel.find_elements("css selector", ".crops img")) == 6
    until(lambda: chrome.execute_script("return document.querySelector('#panel-body video').readyState >= 2"))
    until(lambda: chrome.execute_script(BOXES_DRAWN))
    assert violations(chrome) == []
    press(chrome, "#mend")
    until(lambda: chrome.find_elements("id", "fetch"), 300)
    assert "moved the audio 160 ms later" in chrome.find_element("id", "mended").text
    path = str(chrome.find_element("id", "fetch").get_attribute("href")).partition(f":{server.port}")[2]
    status, headers, content = server.ask("GET", path)
    assert status == 200 and 'filename="demo_audio_early-mended.mp4"' in headers["content-disposition"]
    assert content[4:8] == b"ftyp"
    press(chrome, "#again")
    until(lambda: server.left == [])
    assert faults(chrome) == []


def test_sound_that_is_seconds_early_is_found_and_mended(browser: Open, start: Start, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["demo", str(tmp_path / "demo")]).exit_code == 0
    shift_audio(tmp_path / "demo" / "demo_in_sync.mp4", tmp_path / "early.mp4", Fraction(-6, 5))
    chrome = browser(f"http://127.0.0.1:{start().port}/")
    chrome.find_element("id", "file").send_keys(str(tmp_path / "early.mp4"))
    until(lambda: chrome.find_element("id", "result").is_displayed(), 400)
    assert chrome.find_element("id", "long-range").text == "Long range: audio 1.20 s early."
    assert "Best within ±15 frames: audio late" in chrome.find_element("id", "panel-body").text
    press(chrome, "#mend")
    until(lambda: chrome.find_elements("id", "fetch"), 400)
    assert faults(chrome) == []


def test_a_picked_video_that_cannot_be_scored_says_why(browser: Open, start: Start, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    chrome = browser(f"http://127.0.0.1:{start(folder=tmp_path).port}/", 400)
    until(lambda: chrome.find_element("id", "pick").is_enabled() and chrome.find_elements("css selector", "option"))
    assert chrome.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    press(chrome, "#pick")
    until(lambda: "notes.mp4: is not a video file" in chrome.find_element("id", "error").text)
    assert chrome.find_element("id", "choose").is_displayed()
