"""Who is followed in a training clip: the known face, somebody else than a listener, or who is seen for longest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipscore.demo.clips import make_clip
from lipscore.errors import UsageError
from lipscore.media.read import probe
from lipscore.media.write import write_video
from lipscore.training.clips import read_clip, read_clips
from lipscore.training.speaker import follow
from lipscore.types import Detection, Frame, Shot, Track

FRAMES = 75
LARGE, SMALL = np.array([20.0, 30, 160, 210]), np.array([200.0, 60, 310, 200])


class Seen:
    """A detector that finds boxes[k] in the frames from ... to that go with it."""

    name, stride, bridge, doubtful, batch_size, turn = "seen", 1, 0, (0.0, 0.0), 2, nullcontext()

    def __init__(self, *faces: tuple[np.ndarray, int, int]) -> None:
        self.faces = faces

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        for _ in frames:
            pass
        return [
            [Detection(i, box.astype(np.float32), 0.9) for box, first, last in self.faces if first <= i <= last]
            for i in indices
        ]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "talk.mp4"
    drawn = make_clip(seed=1, seconds=FRAMES / 25, size=(320, 240))
    write_video(path, drawn.frames, Fraction(25), drawn.pcm)
    return path


def everywhere(box: np.ndarray) -> Track:
    return Track(0, Shot(0, FRAMES), np.arange(FRAMES), np.tile(box, (FRAMES, 1)))


def test_the_known_face_is_followed_and_gaps_are_filled(clip: Path) -> None:
    found = follow(clip, Seen((LARGE, 0, 74), (SMALL, 0, 29), (SMALL + 10, 40, 74)), everywhere(SMALL))
    assert found is not None and found.found == pytest.approx(65 / 75)
    boxes = found.track.boxes_xyxy
    np.testing.assert_allclose(boxes[[0, 29, 40, 74]], np.stack([SMALL, SMALL, SMALL + 10, SMALL + 10]), atol=1e-3)
    np.testing.assert_allclose(boxes[35], SMALL + 10 * 6 / 11, atol=1e-3)
    assert follow(clip, Seen((LARGE, 0, 74), (SMALL, 0, 29)), everywhere(SMALL)) is None, "seen too seldom"


def test_a_listeners_boxes_choose_the_other_one(clip: Path) -> None:
    found = follow(clip, Seen((LARGE, 0, 74), (SMALL, 0, 74)), everywhere(LARGE), listener=True)
    assert found is not None and found.n_tracks == 2
    np.testing.assert_allclose(found.track.boxes_xyxy[0], SMALL)


def test_without_known_boxes_it_is_who_is_seen_for_longest_then_the_larger(clip: Path) -> None:
    for faces, expected in (
        (((SMALL, 0, 74), (LARGE, 0, 59)), SMALL),
        (((SMALL, 0, 74), (LARGE, 0, 74)), LARGE),
    ):
        found = follow(clip, Seen(*faces))
        assert found is not None and found.found is None
        np.testing.assert_allclose(found.track.boxes_xyxy[0], expected)
    assert follow(clip, Seen()) is None


def test_a_track_that_begins_later_is_cut_with_its_sound(clip: Path) -> None:
    whole = read_clip(clip, "a", everywhere(LARGE), lossy=True)
    part = Track(0, Shot(0, FRAMES), np.arange(10, 70), np.tile(LARGE, (60, 1)))
    cut = read_clip(clip, "a", part, lossy=True)
    assert probe(clip).n_frames == len(whole.frames) == FRAMES
    assert 60 <= len(cut.frames) <= 61 and cut.lossy is not None and len(cut.lossy) in (59, 60)
    # the median filter's zeros at a track's ends move its outermost crops
    np.testing.assert_array_equal(cut.frames[10:50], whole.frames[20:60])
    np.testing.assert_array_equal(cut.pcm[: 60 * 640], whole.pcm[10 * 640 : 70 * 640])


def test_a_video_without_a_face_is_an_error_that_names_it(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text("{}")
    more = tmp_path / "more"
    more.mkdir()
    drawn = make_clip(seed=1, seconds=2.5, size=(160, 160), faces=0)
    write_video(more / "nobody.mp4", drawn.frames, Fraction(25), drawn.pcm)
    with pytest.raises(UsageError, match=r"nobody\.mp4: nobody's face is seen"):
        read_clips(tmp_path, boxes, more, lambda *_: None)
    with pytest.raises(UsageError, match=r"more = .*not a folder"):
        read_clips(tmp_path, boxes, tmp_path / "gone", lambda *_: None)
