"""Wav2Lip's ears: the mel spectrogram against a naive one, the resampler against a naive one, the windows."""

from __future__ import annotations

import json
import math
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from lipscore.generate.wav2lip.errors import NotGeneratedError
from lipscore.generate.wav2lip.mel import Mel, chunk_starts, mel_basis
from lipscore.generate.wav2lip.sound import Resampler, SampleFile, load_sound, sinc_table

RATES = (25.0, 24.0, 30.0, 29.97, 23.976, 50.0, 12.5)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(count) * 0.1).astype(np.float32)


def naive_mel(x: np.ndarray) -> np.ndarray:
    """float[80, 1 + N // 200], by the definitions: pre-emphasis, mirrored ends, a DFT, triangles, decibels."""
    y = [float(x[0]), *(float(x[n]) - 0.97 * float(x[n - 1]) for n in range(1, len(x)))]
    y = y[400:0:-1] + y + y[-2:-402:-1]
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 800) for n in range(800)]
    turns = np.exp(-2j * np.pi * np.outer(np.arange(401), np.arange(800)) / 800)

    def hz(mel: float) -> float:
        return 200 / 3 * mel if mel < 15 else 1000 * math.exp(math.log(6.4) / 27 * (mel - 15))

    low, high = 55 / (200 / 3), 15 + math.log(7.6) / (math.log(6.4) / 27)
    corners = [hz(low + (high - low) * k / 81) for k in range(82)]
    columns = []
    for start in range(0, len(x) + 1, 200):
        if start + 800 > len(y):
            break
        spectrum = np.abs(turns @ (np.array(window) * y[start : start + 800]))
        column = []
        for a, b, c in zip(corners, corners[1:], corners[2:], strict=False):
            weights = [max(0.0, min((20 * k - a) / (b - a), (c - 20 * k) / (c - b))) for k in range(401)]
            energy = sum(w * s for w, s in zip(weights, spectrum, strict=True)) * 2 / (c - a)
            db = 20 * math.log10(max(1e-5, energy)) - 20
            column.append(min(4.0, max(-4.0, 8 * (db + 100) / 100 - 4)))
        columns.append(column)
    return np.array(columns).T


@pytest.mark.parametrize("count", [3000, 3399, 5200])
def test_the_mel_is_that_of_a_naive_transform(count: int) -> None:
    x = noise(count)
    mel = Mel(x)
    expected = naive_mel(x)
    assert (80, mel.columns) == expected.shape
    np.testing.assert_allclose(mel.part(0, mel.columns), expected, atol=1e-5)


def test_parts_of_the_mel_are_parts_of_the_whole() -> None:
    mel = Mel(noise(40_000))
    whole = mel.part(0, mel.columns)
    for start, stop in ((0, 1), (3, 20), (190, mel.columns), (0, 16)):
        np.testing.assert_allclose(mel.part(start, stop), whole[:, start:stop], atol=2e-6)
    windows = mel.windows([7, 10, 180])
    assert windows.shape == (3, 1, 80, 16)
    np.testing.assert_allclose(windows[1, 0], whole[:, 10:26], atol=2e-6)


def test_silence_is_the_floor_and_a_tone_lights_its_band() -> None:
    assert (Mel(np.zeros(8000, np.float32)).part(0, 41) == -4).all()
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    peak = int(Mel(tone).part(40, 41).argmax())
    assert mel_basis()[peak, 50] > 0  # 1000 Hz is bin 50


def test_triangles_have_an_area_of_one() -> None:
    # wide ones; those narrower than a few bins of 20 Hz are sampled too coarsely to tell
    areas = mel_basis().sum(axis=1) * 20
    np.testing.assert_allclose(areas[60:], 1, atol=0.01)


def test_a_sound_below_a_window_is_refused() -> None:
    with pytest.raises(NotGeneratedError, match=r"0\.187 s") as caught:
        Mel(noise(2999))
    assert caught.value.reason == "audio_too_short"
    assert Mel(noise(3000)).columns == 16


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("columns", [16, 17, 20, 121, 209, 1000])
def test_windows_start_where_their_frames_do(fps: float, columns: int) -> None:
    starts = chunk_starts(columns, fps)
    for number, start in enumerate(starts[:-1]):
        assert start <= number * 80 / fps + 1e-9 < start + 1 + 1e-9  # the column that the frame's time lies in
        assert start + 16 <= columns
    assert starts[-1] == columns - 16
    assert (len(starts) - 1) * 80 / fps + 16 > columns - 1e-9  # the next one does not fit
    assert chunk_starts(columns, fps, last=False) == starts[:-1]


def test_windows_of_a_known_sound() -> None:
    # 24 fps: a frame every 10/3 columns; the sixteenth frame starts at 50 exactly
    starts = chunk_starts(121, 24.0)
    assert starts[:7] == [0, 3, 6, 10, 13, 16, 20]
    assert (starts[15], starts[-3:], len(starts)) == (50, [100, 103, 105], 33)


def naive_resampled(x: np.ndarray, rate: int) -> np.ndarray:
    """resampy 0.2.2's loop, its time added up as there."""
    q = 16000 / rate
    scale = min(1.0, q)
    table = sinc_table() * scale
    slopes = np.append(np.diff(table), 0)
    step = int(scale * 512)
    out = []
    time = 0.0
    for _ in range(int(len(x) * q)):
        n = int(time)
        total = 0.0
        for wing, fraction in enumerate((scale * (time - n), scale - scale * (time - n))):
            offset = int(fraction * 512)
            eta = fraction * 512 - offset
            most = min(len(x) - n - 1 if wing else n + 1, (len(table) - offset) // step)
            for i in range(most):
                at = offset + i * step
                total += (table[at] + eta * slopes[at]) * x[n + 1 + i if wing else n - i]
        out.append(total)
        time += 1 / q
    return np.array(out + [0.0] * (math.ceil(len(x) * q) - len(out)))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 15999])
def test_the_resampler_is_the_naive_one(rate: int) -> None:
    x = noise(700).astype(np.float64)
    blocks = list(Resampler(rate).blocks(lambda start, stop: x[start:stop], len(x)))
    np.testing.assert_allclose(np.concatenate(blocks), naive_resampled(x, rate), atol=1e-9)


def test_times_that_fall_below_a_whole_sample_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    # 8160 / (16000 / 44100) is 22491; added up in float64 it is 22490.9999999983, and resampy counts from there
    x = noise(24_000).astype(np.float64)
    whole = np.concatenate(list(Resampler(44100).blocks(lambda start, stop: x[start:stop], len(x))))
    monkeypatch.setattr("lipscore.generate.wav2lip.sound.BLOCK", 100)
    parts = np.concatenate(list(Resampler(44100).blocks(lambda start, stop: x[start:stop], len(x))))
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_allclose(whole[8160], naive_resampled(x, 44100)[8160], atol=1e-9)


def test_a_tone_stays_a_tone() -> None:
    t = np.arange(44100) / 44100
    x = np.sin(2 * np.pi * 440 * t)
    y = np.concatenate(list(Resampler(44100).blocks(lambda start, stop: x[start:stop], len(x))))
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(y[500:-500], expected[500:-500], atol=4e-3)  # resampy is 0.3 % too loud


def write_wav(path: Path, data: np.ndarray, rate: int = 16000) -> Path:
    wavfile.write(path, rate, data)
    return path


def test_a_wav_at_16_khz_is_taken_as_it_is(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(-30000, 30000, 5000).astype(np.int16)
    sound = load_sound(write_wav(tmp_path / "a b's ü.wav", x), tmp_path)
    np.testing.assert_array_equal(sound.samples[:], x.astype(np.float32) / 32768)
    assert (sound.rate, sound.channels, sound.resampled) == (16000, 1, False)
    np.testing.assert_array_equal(sound.samples[100:105], sound.samples[:][100:105])


def test_channels_are_averaged_and_float_samples_kept(tmp_path: Path) -> None:
    x = np.stack([noise(5000), noise(5000, 1)], axis=1)
    sound = load_sound(write_wav(tmp_path / "stereo.wav", x), tmp_path)
    np.testing.assert_allclose(sound.samples[:], x.mean(axis=1), atol=1e-7)
    assert sound.channels == 2


def test_another_container_becomes_16_bit_first(tmp_path: Path) -> None:
    from lipscore.media.ffmpeg import file_url, run_ffmpeg

    x = noise(5000)
    wav = write_wav(tmp_path / "x.wav", x)
    flac = tmp_path / "x.flac"
    run_ffmpeg(["-i", file_url(wav), "-c:a", "flac", "-sample_fmt", "s32", file_url(flac)], wav)
    samples = load_sound(flac, tmp_path).samples[:]
    assert np.abs(samples - x).max() <= 1 / 32768
    np.testing.assert_array_equal(samples * 32768, np.round(samples * 32768))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_no_number_is_named(tmp_path: Path, bad: float) -> None:
    x = noise(16000)
    x[12000] = bad
    with pytest.raises(NotGeneratedError, match=r"bad\.wav: a sample at 0\.750 s") as caught:
        load_sound(write_wav(tmp_path / "bad.wav", x), tmp_path)
    assert caught.value.reason == "nan_audio"


def test_a_file_without_sound_is_named(tmp_path: Path) -> None:
    from lipscore.media.write import write_video

    silent = tmp_path / "silent.mp4"
    write_video(silent, [np.zeros((32, 32, 3), np.uint8)] * 5, 25)
    with pytest.raises(NotGeneratedError, match=r"silent\.mp4: has no sound") as caught:
        load_sound(silent, tmp_path)
    assert caught.value.reason == "no_audio"
    with wave.open(str(tmp_path / "empty.wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
    with pytest.raises(NotGeneratedError) as caught:
        load_sound(tmp_path / "empty.wav", tmp_path)
    assert caught.value.reason == "no_audio"


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_file_of_samples_slices_like_an_array(start: int, stop: int) -> None:
    import tempfile

    x = np.arange(100, dtype=np.int16).reshape(50, 2)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"head" + x.tobytes())
        file.flush()
        held = SampleFile(Path(file.name), x.dtype, 4, 50, 2)
        assert len(held) == 50
        np.testing.assert_array_equal(held[start:stop], x[start:stop])


@pytest.mark.parametrize("name", ["phone_16k", "doctor_44k", "phone_44k_stereo"])
def test_the_kits_sounds(wav2lip_kit: Path, tmp_path: Path, name: str) -> None:
    golden = np.load(wav2lip_kit / "golden.npz")
    sound = load_sound(wav2lip_kit / f"{name}.wav", tmp_path)
    if f"wav_{name}" in golden:
        np.testing.assert_allclose(sound.samples[:], golden[f"wav_{name}"], atol=1e-6)
    mel = Mel(sound.samples)
    tolerance = 3e-4 if sound.resampled else 1e-5
    np.testing.assert_allclose(mel.part(0, mel.columns), golden[f"mel_{name}"], atol=tolerance)


def test_the_kits_basis_noise_and_windows(wav2lip_kit: Path) -> None:
    golden = np.load(wav2lip_kit / "golden.npz")
    np.testing.assert_allclose(mel_basis(), golden["mel_basis"], atol=1e-5)
    x = (np.random.Generator(np.random.PCG64(0)).standard_normal(16000) * 0.1).astype(np.float32)
    np.testing.assert_allclose(Mel(x).part(0, 12), golden["mel_noise"], atol=1e-5)
    for unit in json.loads((wav2lip_kit / "golden.json").read_text())["units"]["chunks"]:
        starts = chunk_starts(unit["mel_columns"], unit["fps"])
        found = len(starts), starts[: len(unit["first"])], starts[-len(unit["last"]) :]
        assert found == (unit["n"], unit["first"], unit["last"])
