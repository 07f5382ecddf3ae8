"""The wheel and the sdist: built, complete, and the wheel at work in an environment that has nothing but it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "src" / "lipscore"
DATA = ("mini.safetensors", "mini.json", "py.typed")
LOOK = """
import hashlib, json, lipscore
from importlib import metadata
from pathlib import Path
home = Path(lipscore.__file__).parent
print(json.dumps({
    "home": str(home),
    "version": [lipscore.__version__, metadata.version("lipscore")],
    "data": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in home.rglob("mini.*[sn]")},
    "entry points": {point.name: point.value for point in metadata.entry_points(group="console_scripts")},
}))
"""


def said(command: Sequence[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(kind: str, source: Path, target: Path) -> Path:
    """The file that hatchling makes of a source folder; kind: wheel or sdist."""
    code = f"import hatchling.build, sys; print(hatchling.build.build_{kind}(sys.argv[1]))"
    return target / said([sys.executable, "-c", code, target], cwd=source).split()[-1]


def modules() -> set[str]:
    """Every module and data file of the checkout, named as in a wheel; the links are followed."""
    folders = [HOME, *(path for path in HOME.iterdir() if path.is_dir())]
    paths = {path for folder in folders for path in (folder.glob("*") if folder == HOME else folder.rglob("*"))}
    wanted = {path for path in paths if path.suffix in (".py", ".html", ".css", ".js") or path.name in DATA}
    return {f"lipscore/{path.relative_to(HOME)}" for path in wanted}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'__version__ = "{version}"' in (HOME / "__init__.py").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    assert len(modules()) > 60
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == modules()


def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert {"tests", "docs", "LICENSE", "README.md", "constraints.txt"} <= {path.name for path in source.iterdir()}
    again = build("wheel", source, tmp_path)
    for one, other in zip(
        *(sorted(zipfile.ZipFile(p).infolist(), key=lambda i: i.filename) for p in (wheel, again)), strict=True
    ):
        assert (one.filename, one.CRC) == (other.filename, other.CRC)


def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    venv.create(empty, with_pip=False)
    python = empty / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    said([*pip, "--no-deps", "--no-index", wheel], env=clean)
    found = json.loads(said([python, "-c", LOOK], cwd=tmp_path, env=clean))
    assert Path(found["home"]).is_relative_to(empty)
    assert found["version"][0] == found["version"][1]
    assert found["entry points"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    record = json.loads((HOME / "syncnet" / "models" / "mini.json").read_text())
    assert found["data"]["mini.safetensors"] == record["weights_sha256"]
    assert "mini.json" in found["data"]
    # with what lipscore needs, borrowed from here, its command runs
    borrowed = {**clean, "PYTHONPATH": sysconfig.get_paths()["purelib"]}
    where = "import lipscore; print(lipscore.__file__)"
    if Path(said([python, "-c", where], cwd=tmp_path, env=borrowed)).is_relative_to(empty):
        assert "wav2lip" in said([empty / "bin" / "lipscore", "protocols"], cwd=tmp_path, env=borrowed)
