"""Wav2Lip's network and its checkpoints: the kit's windows, and files that are none."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lipscore.errors import DeviceError, WeightsError
from lipscore.generate.wav2lip import checkpoint
from lipscore.generate.wav2lip.faces.paste import network_input
from lipscore.generate.wav2lip.generator import Generator
from lipscore.generate.wav2lip.network import GFLOP, Wav2LipNet, build


def inputs(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    faces = list(rng.integers(0, 256, (count, 96, 96, 3), np.uint8))
    return rng.uniform(-4, 4, (count, 1, 80, 16)).astype(np.float32), network_input(faces)


def test_the_size_of_the_network() -> None:
    with torch.device("meta"):
        net = Wav2LipNet().eval()
        assert sum(p.numel() for p in net.parameters()) == 36_298_035
        assert len(net.state_dict()) == 352
        with FlopCounterMode(display=False) as counter:
            assert net(torch.empty(1, 1, 80, 16), torch.empty(1, 6, 96, 96)).shape == (1, 3, 96, 96)
    assert counter.get_total_flops() / 1e9 == pytest.approx(GFLOP, abs=0.01)


def test_the_fused_network_is_the_network(drawn_wav2lip: dict[str, torch.Tensor]) -> None:
    plain = Wav2LipNet().eval()
    plain.load_state_dict(drawn_wav2lip)
    mels, faces = inputs(3)
    with torch.inference_mode():
        expected = plain(torch.from_numpy(mels), torch.from_numpy(faces)).numpy()
    found = Generator(checkpoint.Checkpoint(drawn_wav2lip, Path("drawn"), "", ""))(mels, faces)
    error = np.abs(found - expected)
    assert error.max() < 1e-4 and error.mean() < 1e-5
    assert found.min() >= 0 and found.max() <= 1


def test_a_batch_is_halved_where_the_memory_does_not_hold_it(
    drawn_wav2lip: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator(checkpoint.Checkpoint(drawn_wav2lip, Path("drawn"), "", ""), batch_size=8)
    mels, faces = inputs(6)
    expected = generator(mels, faces)
    whole, tried = generator._network.forward, []

    def scarce(mels: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        tried.append(len(mels))
        if len(mels) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(mels, faces)

    monkeypatch.setattr(generator._network, "forward", scarce)
    np.testing.assert_allclose(generator(mels, faces), expected, atol=1e-4)
    assert tried[0] == 6 and sum(size for size in tried if size <= 2) == 6
    monkeypatch.setattr(generator._network, "forward", lambda *_: scarce(torch.empty(9), faces=torch.empty(9)))
    with pytest.raises(DeviceError, match="not enough memory"):
        generator(mels, faces)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_both_forms_of_the_official_files_are_read(
    drawn_wav2lip: dict[str, torch.Tensor], tmp_path: Path, prefix: str
) -> None:
    path = tmp_path / "wav2lip.pth"
    content = {"state_dict": {prefix + name: value for name, value in drawn_wav2lip.items()}, "optimizer": None}
    torch.save(content, path, _use_new_zipfile_serialization=not prefix)  # the files of 2020 are in the old form
    found = checkpoint.load(path)
    assert found.published == "" and len(found.sha256) == 64
    assert all(torch.equal(found.state[name], value) for name, value in drawn_wav2lip.items())


def refused(path: Path, *words: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
        checkpoint.load(path)
    for word in words:
        assert word in str(caught.value), caught.value


def test_what_is_not_a_checkpoint_is_named(drawn_wav2lip: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "wav2lip_gan.pth"
    refused(path, "cannot be read")
    path.write_bytes(b"\n<!DOCTYPE html><html><head><title>wav2lip_gan.pth</title>" + b" " * 47_000)
    refused(path, "not_a_checkpoint", "web page of 47,")
    path.write_bytes(b"")
    refused(path, "empty")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(path, "Git LFS pointer")
    path.write_bytes(b"\x80\x02garbage")
    refused(path, "not_a_checkpoint", "download complete")
    torch.save({"state_dict": drawn_wav2lip}, tmp_path / "whole.pth")
    path.write_bytes((tmp_path / "whole.pth").read_bytes()[:-5000])
    refused(path, "not_a_checkpoint", "download complete")
    torch.save({"state_dict": {"a": 1}}, path)
    refused(path, "no tensors by name")
    torch.save({"conv1_1.weight": torch.zeros(1), "conv1_1.bias": torch.zeros(1)}, path)
    refused(path, "S3FD, the face detector")
    torch.save({"encoder.weight": torch.zeros(1)}, path)
    refused(path, "tensors of another network (encoder.weight")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no tensors")
    refused(path, "not_a_checkpoint")


def test_another_variant_is_named_with_its_shapes(drawn_wav2lip: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "wav2lip256.pth"
    name = "face_decoder_blocks.6.0.conv_block.0.weight"
    torch.save({"state_dict": {**drawn_wav2lip, name: torch.zeros(80, 64, 3, 3), "extra.weight": torch.zeros(1)}}, path)
    refused(path, "wrong_shapes", f"{name} is (80, 64, 3, 3), not (160, 64, 3, 3)", "1 tensors are not Wav2Lip's")
    torch.save({"state_dict": {key: value for key, value in drawn_wav2lip.items() if key != name}}, path)
    refused(path, "wrong_shapes", f"1 tensors are missing ({name})")


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run from a weight file",))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    refused(tmp_path / "evil.pth", "not_a_checkpoint")
    assert capsys.readouterr().out == ""


def test_the_kits_names_and_shapes(wav2lip_kit: Path) -> None:
    lines = [line.split(" ") for line in (wav2lip_kit / "wav2lip_shapes.txt").read_text().splitlines() if line]
    with torch.device("meta"):
        state = Wav2LipNet().state_dict()
    assert {name: "x".join(map(str, value.shape)) for name, value in state.items()} == dict(lines)


@pytest.mark.parametrize("name", ["wav2lip.pth", "wav2lip_gan.pth", "Wav2Lip-SD-NOGAN.pt"])
def test_the_kits_windows_from_each_form_of_its_weights(wav2lip_kit: Path, wav2lip_weights: Path, name: str) -> None:
    golden = np.load(wav2lip_kit / "golden.npz")
    network = build(checkpoint.load(wav2lip_weights / name).state, torch.device("cpu"))
    for window in ("phone_0", "phone_30", "doctor_10"):
        faces = torch.from_numpy(network_input([golden[f"{window}_face"]]))
        with torch.inference_mode():
            out = network(torch.from_numpy(golden[f"{window}_mel"][None, None]), faces)[0].permute(1, 2, 0).numpy()
        error = np.abs(out - golden[f"{window}_output"])
        assert error.max() < 1e-4 and error.mean() < 1e-5


def test_the_kits_other_file_is_told_apart(wav2lip_weights: Path) -> None:
    refused(wav2lip_weights / "s3fd.pth", "S3FD, the face detector")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_kits_windows_on_a_gpu(wav2lip_kit: Path, wav2lip_weights: Path) -> None:
    golden = np.load(wav2lip_kit / "golden.npz")
    generator = Generator(checkpoint.load(wav2lip_weights / "wav2lip_gan.pth"), "cuda")
    for window in ("phone_0", "phone_30", "doctor_10"):
        faces = network_input([golden[f"{window}_face"]])
        out = generator(golden[f"{window}_mel"][None, None], faces)[0].transpose(1, 2, 0)
        error = np.abs(out - golden[f"{window}_output"])
        assert error.max() < 1e-4 and error.mean() < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_a_cpu_gives(drawn_wav2lip: dict[str, torch.Tensor]) -> None:
    mels, faces = inputs(5)
    weights = checkpoint.Checkpoint(drawn_wav2lip, Path("drawn"), "", "")
    error = np.abs(Generator(weights, "cuda")(mels, faces) - Generator(weights)(mels, faces))
    assert error.max() < 1e-4 and error.mean() < 1e-5
