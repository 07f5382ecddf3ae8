"""Merge several --out folders: the shards of one run, or runs over different videos.

The result has the files of a run: scores.jsonl, scores.csv, run.json and all_scores.txt. All records were made with the
same settings, and each video occurs once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipscore.errors import MissingError, UsageError
from lipscore.eval.store import signature, summary
from lipscore.eval.store.records import TRY_AGAIN, Record, as_csv, as_line, latest_of, read_records
from lipscore.eval.store.scores_file import lines_of, quote_name
from lipscore.media.files.aside import replace_whole

FILES = ("scores.jsonl", "scores.csv", "run.json", "all_scores.txt")
# the content of the `settings` hash, by its names in run.json
DECIDING = ("protocol", "model", "detector", "changed", "weights", "options")
_SHARD = re.compile(r"run-(\d+)-of-(\d+)\.json")


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of a merge; warnings: what is missing or was skipped."""

    records: tuple[Record, ...]
    counts: summary.Summary
    warnings: tuple[str, ...]
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """An input folder: the last record of each video, and the manifests by path."""

    folder: Path
    records: tuple[Record, ...]
    manifests: Mapping[Path, Mapping[str, Any]]


def merge(folders: Sequence[Path], out: Path, command: Sequence[str] = ()) -> Merged:
    """Merge the folders into `out`, replacing an earlier merge in it.

    Args:
        command: the command line, for run.json.

    Raises:
        UsageError: the folders were scored with different settings or use one name for different videos, or `out` is
            one of the folders or contains something other than a merge.
        MissingError: a folder has no scores.jsonl, or `out` cannot be written.
    """
    _check_out(folders, out)
    warnings: list[str] = []
    parts = [_read(folder, warnings) for folder in dict.fromkeys(folders)]
    settings = _one_settings(parts)
    chosen = _without_doubles(parts)
    manifests = {
        path: found for part in parts for path, found in part.manifests.items() if found.get("settings") == settings
    }
    if not manifests:
        raise MissingError(f"{_list(folders)}: no run.json of a finished run; run `lipscore score` again, it continues")
    warnings += _incomplete(parts, manifests)
    counts = summary.summarise(chosen, len(chosen) + sum(int(found["not_reached"]) for found in manifests.values()))
    manifest = _manifest(manifests, counts, command)
    scores = [line for record in chosen for line in lines_of(record.score)]
    content = {
        "scores.jsonl": b"".join(map(as_line, chosen)),
        "scores.csv": as_csv(chosen),
        "all_scores.txt": "".join(f"{line}\n" for line in scores).encode(errors="surrogateescape"),
        # written last: its `merged` marks the other files as a merge's
        "run.json": (json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(
            errors="backslashreplace"
        ),
    }
    for name, data in content.items():
        replace_whole(out / name, data)
    return Merged(chosen, counts, tuple(warnings), manifest)


def _check_out(folders: Sequence[Path], out: Path) -> None:
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise UsageError(f"--out {out}: is one of the folders to merge; name another folder")
    there = [name for name in FILES if (out / name).exists()]
    if there and "merged" not in _read_manifest(out / "run.json", []):
        raise UsageError(f"--out {out}: contains {', '.join(there)}, which no merge wrote; name another folder")


def _read(folder: Path, warnings: list[str]) -> _Part:
    path = folder / "scores.jsonl"
    if not path.is_file():
        raise MissingError(f"{folder}: contains no scores.jsonl; name folders that `lipscore score --out` wrote")
    records, problems = read_records(path)
    warnings += [f"{path}, line {line}: {problem}; skipped" for line, problem in problems]
    latest = latest_of(records)  # as in scores.csv, a later record replaces an earlier one
    names = sorted(found for found in folder.glob("run*.json") if found.name == "run.json" or _SHARD.match(found.name))
    return _Part(folder, tuple(latest), {found: _read_manifest(found, warnings) for found in names})


def _read_manifest(path: Path, warnings: list[str]) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warnings.append(f"{path}: cannot be read ({error}); skipped")
        return {}
    return found if isinstance(found, dict) else {}


def _one_settings(parts: Sequence[_Part]) -> str | None:
    """The settings hash that all records share.

    Raises:
        UsageError: the settings differ; the message says how.
    """
    by_settings: dict[str, list[Path]] = {}
    for part in parts:
        for settings in dict.fromkeys(record.settings for record in part.records):
            by_settings.setdefault(settings, []).append(part.folder)
    if not by_settings:  # no video at all, for example in shards of a nearly empty folder
        found = [manifest.get("settings") for part in parts for manifest in part.manifests.values()]
        return found[0] if found else None
    first, *others = by_settings
    for other in others:
        difference = _difference(*(_deciding(parts, settings) for settings in (first, other)))
        raise UsageError(
            f"scored with different settings and not comparable: {_list(by_settings[first])} and "
            f"{_list(by_settings[other])}{': ' + difference if difference else ''}; merge only what was scored alike"
        )
    return first


def _deciding(parts: Sequence[_Part], settings: str) -> Mapping[str, Any]:
    """The settings that a hash stands for, from a manifest, or from a record if there is no manifest."""
    for part in parts:
        for manifest in part.manifests.values():
            if manifest.get("settings") == settings:
                return _flat({name: manifest.get(name) for name in DECIDING})
    score = next(record.score for part in parts for record in part.records if record.settings == settings)
    return {"protocol name": score.protocol, "protocol hash": score.protocol_hash, "model": score.model}


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if name == "weights":
            item = {file["name"]: file["sha256"] for file in item or ()}
        if isinstance(item, dict):
            flat |= _flat(item, f"{above}{name} ")
        else:
            flat[above + name] = item
    return flat


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    names = [name for name in a if name in b and a[name] != b[name]]
    return ", ".join(f"{name} {a[name]} and {b[name]}" for name in names)


def _without_doubles(parts: Sequence[_Part]) -> tuple[Record, ...]:
    """One record per name, sorted by path like a run over a folder.

    Raises:
        UsageError: two different videos have the same name.
    """
    held: dict[str, tuple[Path, Record]] = {}
    for part in parts:
        for record in part.records:
            name = record.score.name
            folder, before = held.get(name, (part.folder, record))
            if before.score.status in TRY_AGAIN:
                held[name] = (part.folder, record)
            elif record.score.status in TRY_AGAIN or record.key == before.key:
                held[name] = (folder, before)
            else:
                raise UsageError(
                    f"{quote_name(name)} is not the same video, or has another reference, in {folder} "
                    f"({before.score.video}) and in {part.folder} ({record.score.video}); "
                    "score both in one run, which gives them names of their own, or merge them apart"
                )
    chosen = (record for _, record in held.values())
    return tuple(sorted(chosen, key=lambda found: (Path(found.score.video).parts, found.score.piece or ())))


def _incomplete(parts: Sequence[_Part], manifests: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    """Warnings about missing videos and shards, as far as the manifests show them."""
    found = [f"{path}: {n} videos were not reached" for path, one in manifests.items() if (n := one["not_reached"])]
    found += [
        f"{part.folder}: no run.json: the run was killed, or is still running"
        for part in parts
        if part.records and not part.manifests
    ]
    shards = [(int(match[1]), int(match[2])) for path in manifests if (match := _SHARD.fullmatch(path.name))]
    for count in sorted({count for _, count in shards}):
        missing = sorted(set(range(1, count + 1)) - {index for index, of in shards if of == count})
        if missing:
            found.append("missing: " + ", ".join(f"shard {index}/{count}" for index in missing))
    return found


def _manifest(
    manifests: Mapping[Path, Mapping[str, Any]], counts: summary.Summary, command: Sequence[str]
) -> dict[str, Any]:
    """The merged run.json: the values that all parts share, and each part's other values under `merged`."""
    parts = list(manifests.values())
    recounted = summary.as_json(counts) | {
        "command": list(command),
        "started": min(str(part["started"]) for part in parts),
        "finished": max(str(part["finished"]) for part in parts),
        "interrupted": any(part["interrupted"] for part in parts),
        "resumed": sum(int(part["resumed"]) for part in parts),
    }
    if signed := parts[0].get("signature"):
        recounted["signature"] = str(signature.parse(signed).with_n(counts.scored, counts.total))
    shared = {
        name: value
        for name, value in parts[0].items()
        if name not in recounted and all(part.get(name) == value for part in parts)
    }
    own = [
        {"manifest": str(path), **{name: value for name, value in part.items() if name not in shared}}
        for path, part in manifests.items()
    ]
    return {**shared, **recounted, "merged": own}


def _list(folders: Iterable[Path]) -> str:
    return ", ".join(map(str, folders))
