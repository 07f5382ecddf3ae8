"""Read result folders for the page: one `Method` per set of settings, each video once."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lipscore.errors import MissingError, UsageError
from lipscore.eval.options import ProtocolOptions, ReferenceOptions
from lipscore.eval.store.records import Record, latest_of, read_records
from lipscore.types import VideoScore

FLOOR_FILE = "floor.json"  # of `score --floor`
SETTING = re.compile(r"(\w+)=(\S+) \(.+\)")  # as Protocol.changed has it


@dataclass(frozen=True, slots=True)
class Method:
    """The records of one result folder that were scored with the same settings.

    label: the name on the page. folder: the folder with the records. manifest: its run.json; empty if there is none
    with these settings. floor: the means of `score --floor` by score name; empty if there are none with these settings.
    Each video (or piece of a video) occurs once, with its last record.
    """

    label: str
    folder: Path
    records: tuple[Record, ...]
    manifest: dict[str, Any]
    floor: dict[str, float] = field(default_factory=dict)

    @property
    def scored(self) -> list[Record]:
        """The records with status "ok"."""
        return [record for record in self.records if record.score.status == "ok"]

    @property
    def heard(self) -> list[Record]:
        """The scored records with audible sound, over which LSE and offset are averaged."""
        return [record for record in self.scored if not record.score.silent]

    @property
    def model(self) -> str:
        """The model that scored."""
        return self.records[0].score.model

    @property
    def total(self) -> int:
        """The number of videos that the run was given, whether it reached them or not."""
        return max(int(self.manifest.get("videos") or 0), len(self.records))


def load(results: Sequence[str]) -> tuple[list[Method], list[str]]:
    """(the methods in RESULTS, warnings about lines that were skipped).

    Args:
        results: folders that `score --out` wrote, scores.jsonl files, or either as NAME=PATH.

    Raises:
        MissingError: one of the results contains no record.
        UsageError: two results have the same name.
    """
    methods: list[Method] = []
    warnings: list[str] = []
    for text in results:
        name, path = _named(text)
        file = path / "scores.jsonl" if path.is_dir() else path
        records, problems = read_records(file)
        warnings += [f"{file}, line {line}: {problem}; skipped" for line, problem in problems]
        if not records:
            raise MissingError(
                f"{path}: contains no results; name a folder that `lipscore score --out` wrote, or its scores.jsonl"
            )
        methods += _by_settings(name or file.resolve().parent.name, file.parent, records)
    labels = [method.label for method in methods]
    if again := sorted({label for label in labels if labels.count(label) > 1}):
        raise UsageError(f"{again[0]}: two results have this name; rename one of them: NAME={again[0]}")
    return methods, warnings


def _named(text: str) -> tuple[str, Path]:
    """Split NAME=PATH; an argument that is an existing path is only a path."""
    name, equals, path = text.partition("=")
    if equals and name and not Path(text).exists():
        return name, Path(path)
    return "", Path(text)


def _by_settings(label: str, folder: Path, records: Iterable[Record]) -> list[Method]:
    """One method per settings of the records, in order of appearance."""
    latest: dict[str, list[Record]] = {}
    for record in latest_of(records):
        latest.setdefault(record.settings, []).append(record)
    manifests = _manifests(folder)
    methods = []
    for number, (settings, found) in enumerate(latest.items(), start=1):
        own = label if len(latest) == 1 else f"{label} ({number})"
        kept = tuple(found)
        floor = _floor(folder, kept[-1].score.signature)
        methods.append(Method(own, folder, kept, manifests.get(settings, {}), floor))
    return methods


def _floor(folder: Path, signature: str) -> dict[str, float]:
    """The means in floor.json, if it belongs to the run with this signature; else empty."""
    found = _json_of(folder / FLOOR_FILE)
    means = found.get("means") if signature and found.get("signature") == signature else None
    items = means.items() if isinstance(means, dict) else ()
    return {name: float(value) for name, value in items if isinstance(value, int | float) and math.isfinite(value)}


def _json_of(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if it cannot be read or is not an object."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """Settings hash -> run.json (or a shard's own if there is no other); unreadable files are left out."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("run*.json"), reverse=True):
        content = _json_of(path)
        if isinstance(content.get("settings"), str):
            if path.name != "run.json":
                content.pop("videos", None)  # a shard's count is not that of the folder
            found[content["settings"]] = content
    return found


def command_of(score: VideoScore, manifest: dict[str, Any]) -> str:
    """The command that scores this video in the same way; the run's own command if a setting has no flag."""
    # a name that begins with a dash would be an option
    words = ["lipscore", "score", f"./{score.video}" if score.video.startswith("-") else score.video]
    flags = {item.name for item in fields(ProtocolOptions)[1:]}
    for change in score.changed:
        setting = SETTING.fullmatch(change)
        if change.startswith("fast"):
            words.append("--fast")
        elif change.startswith("networks in "):
            words += [] if "--fast" in words else ["--precision", change.removeprefix("networks in ")]
        elif setting and setting[1] in flags:
            words += [f"--{setting[1].replace('_', '-')}", setting[2]]
        elif setting and setting[1] == "audio":
            continue  # the record says whose
        else:
            return _whole_run(manifest)
    options = manifest.get("options", {})
    if options.get("detections") or score.piece is not None:
        return _whole_run(manifest)
    words += ["--protocol", score.protocol, "--model", score.model]
    if score.audio is not None:
        words += ["--audio", score.audio.path]
    if score.reference is not None and score.reference.reference:
        words += ["--reference", str(Path(score.reference.reference).parent)]
        for item in fields(ReferenceOptions):
            value = options.get(item.name, item.default)
            if value != item.default:
                flag = f"--{item.name.replace('_', '-')}"
                words += [flag] if value is True else [flag, str(value)]
    return shlex.join(words)


def _whole_run(manifest: dict[str, Any]) -> str:
    command = [str(word) for word in manifest.get("command", [])]
    return shlex.join(["lipscore", *command[1:]]) if command else ""
