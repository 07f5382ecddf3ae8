"""MFCC in blocks against python_speech_features on the whole signal."""

from __future__ import annotations

import numpy as np
import pytest
import python_speech_features
from hypothesis import given, settings
from hypothesis import strategies as st

from lipscore.syncnet import audio


@settings(max_examples=20)
@given(st.integers(1, 5000), st.integers(0, 1000))
def test_as_python_speech_features_gives_them(n: int, seed: int) -> None:
    pcm = np.random.default_rng(seed).integers(-9000, 9000, n).astype(np.int16)
    assert np.allclose(audio.mfcc(pcm), python_speech_features.mfcc(pcm, 16000), atol=1e-4)


def test_blocks_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = np.random.default_rng(0).integers(-9000, 9000, 16000 * 3).astype(np.int16)
    whole = audio.mfcc(pcm)
    monkeypatch.setattr(audio, "BLOCK", 7)
    assert np.array_equal(audio.mfcc(pcm), whole)
    assert whole.shape == (299, 13)
    assert whole.dtype == np.float32
