"""The Python examples in the documentation run and print what they say."""

from __future__ import annotations

import doctest
import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(page: Path) -> list[tuple[str, str | None]]:
    """(Python code, the output shown in the plain block that follows it, or None) in the page's order."""
    blocks = FENCE.findall(page.read_text())
    after = [*blocks[1:], ("end", "")]
    return [
        (code, text if kind == "" else None)
        for (language, code), (kind, text) in zip(blocks, after, strict=True)
        if language == "python"
    ]


def run_all(page: Path) -> int:
    """Run a page's examples in one namespace and compare what they print; the number of outputs compared."""
    checker, namespace, compared = doctest.OutputChecker(), {"__name__": "example"}, 0
    for code, expected in examples(page):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, page.name, "exec"), namespace)
        if expected is not None:
            compared += 1
            assert checker.check_output(expected, printed.getvalue(), doctest.ELLIPSIS), (
                f"{page.name}: this example\n{code}\nprints\n{printed.getvalue()}\nand the page says\n{expected}"
            )
    return compared


def test_the_examples_of_the_api_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_all(ROOT / "docs" / "api.md") >= 8


def test_the_example_of_the_readme(talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIPSCORE_OFFLINE", "1")
    (tmp_path / "talk.mp4").symlink_to(talk)
    assert run_all(ROOT / "README.md") == 1


def test_every_page_is_linked_from_the_index_and_every_link_leads_to_a_file() -> None:
    pages = sorted(path for path in ROOT.glob("docs/**/*.md"))
    index = (ROOT / "docs" / "index.md").read_text()
    for page in pages:
        if page.name != "index.md":
            assert f"({page.relative_to(ROOT / 'docs')})" in index, f"docs/index.md does not list {page.name}"
    for page in [*pages, *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
