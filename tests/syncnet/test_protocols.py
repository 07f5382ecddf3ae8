"""The named protocols as data, their changes and their files."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from lipscore.errors import UsageError
from lipscore.syncnet.protocols import PROTOCOLS, Protocol, as_table, change, get_protocol


def test_every_field_says_what_it_means_and_where_it_comes_from() -> None:
    kinds = get_type_hints(Protocol)
    assert sum(bool(get_args(kind)) for name, kind in kinds.items() if name != "changed") == 6
    for protocol in PROTOCOLS.values():
        for name, value, meaning, source in as_table(protocol):
            assert meaning
            assert source
            if choices := get_args(kinds[name]):
                assert value in choices
                assert all(choice in meaning for choice in choices)


def test_wav2lip_is_joonsons_pipeline_and_no_two_others_are_alike() -> None:
    assert PROTOCOLS["wav2lip"].hash == PROTOCOLS["joonson"].hash
    hashes = [protocol.hash for name, protocol in PROTOCOLS.items() if name != "joonson"]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(("name", "min_track"), [("wav2lip", 100), ("mochabench", 50), ("latentsync", 50)])
def test_min_track_of_each_lineage(name: str, min_track: int) -> None:
    assert get_protocol(name).min_track == min_track


def test_a_change_is_written_down_and_ends_comparability() -> None:
    protocol = PROTOCOLS["wav2lip"]
    assert protocol.published
    changed = change(protocol, {"min_track": 50, "crop_scale": 0.4})
    assert changed.changed == ("min_track=50 (wav2lip: 100)",)
    assert not changed.published
    assert change(protocol, {"frame_rate": 25}) == protocol
    assert changed.hash != protocol.hash
    assert change(protocol, {"min_track": 100}) == protocol
    batched = change(protocol, {"batch_size": 5})  # moves no number
    assert batched.batch_size == 5
    assert batched.published
    assert batched.hash == protocol.hash


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_trak": 5}, "min_trak is not a field"),
        ({"min_track": "5"}, "must be of type int"),
        ({"min_track": -1}, "must be 0 or more"),
        ({"vshift": 0}, "must be more than 0"),
        ({"low_iou": "stop"}, "next_box, next_frame"),
        ({"low_iou": 1}, "must be of type str"),
        ({"frame_rate": 50}, "frame_rate = 50: must be 25"),
        ({"frame_rate": 0}, "must be more than 0"),
    ],
)
def test_bad_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        change(PROTOCOLS["wav2lip"], values)


def test_a_toml_file_inherits(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('inherit = "mochabench"\nabout = "shorter tracks"\nmin_track = 25\ncrop_scale = 1\n')
    protocol = get_protocol(str(path))
    assert (protocol.name, protocol.min_track, protocol.crop_scale, protocol.reduce) == ("mine", 25, 1.0, "extremes")
    assert not protocol.published
    assert len(protocol.changed) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inherit = 'nobody'", "not a named protocol"),
        ("name = 'wav2lip'", "taken"),
        ("min_track = ", "not valid TOML"),
        ("colour = 1", "not a field"),
        ("inherit = 'lipscore-1'\nframe_rate = 50", "frame_rate = 50: must be 25"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"bad\.toml.*{message}"):
        get_protocol(str(path))
    with pytest.raises(UsageError, match="gone"):
        get_protocol(str(tmp_path / "gone.toml"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="wav2lip, joonson"):
        get_protocol("wave2lip")
