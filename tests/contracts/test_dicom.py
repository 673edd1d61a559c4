"""DICOM: the window and the scale of the file decide the grey; what cannot be read surely is refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmad_core.contracts.decode import decode, open_image, size_of
from vlmad_core.contracts.find import find_images
from vlmad_core.errors import ImageError

pydicom = pytest.importorskip("pydicom")

VALUES = np.array([[0, 100, 200], [300, 400, 4095]], np.uint16)


def write(path: Path, values: np.ndarray = VALUES, *, syntax: str = "1.2.840.10008.1.2.1", **tags: Any) -> Path:
    """A file of a digital X-ray with these stored values; a tag of None is left out."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    signed = values.dtype.kind == "i"
    standard = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
        "SOPInstanceUID": "1.2.3",
        "Rows": values.shape[-2] if values.ndim != 3 or values.shape[-1] != 3 else values.shape[0],
        "Columns": values.shape[-1] if values.ndim != 3 or values.shape[-1] != 3 else values.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * values.dtype.itemsize,
        "BitsStored": 12 if values.dtype.itemsize == 2 else 8,
        "HighBit": 11 if values.dtype.itemsize == 2 else 7,
        "PixelRepresentation": int(signed),
    }
    for name, value in {**standard, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    dataset["PixelData"].VR = "OW" if values.dtype.itemsize == 2 else "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def grey(path: Path) -> list[list[int]]:
    """The values of the red channel, which are those of the others."""
    pixels = np.asarray(open_image(path))  # no warning: it is read as the file says
    assert (pixels == pixels[..., :1]).all()
    found: list[list[int]] = pixels[..., 0].tolist()
    return found


def test_without_a_window_the_scale_is_that_of_the_stored_bits(tmp_path: Path) -> None:
    expected = np.round(255.0 * VALUES / 4095).astype(int).tolist()
    assert grey(write(tmp_path / "a.dcm")) == expected


def test_the_window_is_applied_as_the_standard_has_it(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2."""
    path = write(tmp_path / "a.dcm", WindowCenter=200, WindowWidth=201)
    low, high = 99.5, 299.5
    expected = np.round(255 * np.clip((VALUES - low) / (high - low), 0, 1)).astype(int).tolist()
    assert grey(path) == expected
    assert grey(write(tmp_path / "b.dcm", WindowCenter=200, WindowWidth=200, VOILUTFunction="LINEAR_EXACT")) == [
        [0, 0, 128],
        [255, 255, 255],
    ]


def test_the_first_of_several_windows_is_taken_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", WindowCenter=[200, 1000], WindowWidth=[201, 50])
    note = decode(path).read_as
    assert note == f"{path}: DICOM: window of the file, center 200 and width 201."


def test_values_are_rescaled_before_the_window(tmp_path: Path) -> None:
    """Hounsfield units: 1024 stored is 0."""
    values = np.array([[0, 1024, 2048]], np.uint16)
    path = write(tmp_path / "a.dcm", values, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=0.5, WindowWidth=2049)
    assert grey(path) == [[0, 128, 255]]


def test_monochrome1_is_turned(tmp_path: Path) -> None:
    one = grey(write(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1"))
    two = grey(write(tmp_path / "b.dcm"))
    assert (np.array(one) == 255 - np.array(two)).all()
    assert "MONOCHROME1 turned" in decode(tmp_path / "a.dcm").read_as


def test_signed_values_have_a_scale_about_zero(tmp_path: Path) -> None:
    values = np.array([[-2048, 0, 2047]], np.int16)
    assert grey(write(tmp_path / "a.dcm", values)) == [[0, 128, 255]]


def test_colour_is_taken_as_it_is(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    path = write(tmp_path / "a.dcm", values, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    assert (np.asarray(decode(path).image) == values).all()


def test_a_folder_is_searched_for_it_and_the_size_is_in_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm")
    assert find_images(tmp_path) == [path]
    assert size_of(path) == (2, 3)


def test_the_kind_is_in_the_file_and_not_in_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm").rename(tmp_path / "IM0001")
    assert decode(path).size == (2, 3)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"NumberOfFrames": 3}, "holds 3 frames, and which one is meant"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "of kind 'PALETTE COLOR'"),
        ({"WindowCenter": 100, "WindowWidth": 10, "VOILUTFunction": "SIGMOID"}, "window of function SIGMOID"),
        ({"WindowCenter": 100, "WindowWidth": 1}, "width 1; linear windows of a width above 1"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "all values are alike"),
        ({"Rows": None}, "without a picture"),
    ],
)
def test_what_has_no_sure_scale_is_refused(tags: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", **tags)
    with pytest.raises(ImageError, match=words) as caught:
        decode(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_compression_without_a_decoder_is_refused_with_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"  # HTJ2K, which needs a decoder of its own
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51"])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(ImageError, match=r"compressed DICOM \(High-Throughput JPEG 2000.*no decoder"):
        decode(path)


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((50, 50), np.uint16))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ImageError, match="cannot be read"):
        decode(path)


def test_bits_do_not_go_with_a_file_that_states_its_scale(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="leave bits"):
        decode(write(tmp_path / "a.dcm"), bits=12)


def test_a_name_of_dicom_without_its_preamble_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"no image" * 30)
    with pytest.raises(ImageError, match="no DICOM preamble"):
        decode(path)


def test_without_pydicom_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match="pip install pydicom"):
        decode(path)


def test_pydicom_is_not_imported_until_a_file_needs_it() -> None:
    code = "import sys, vlmad_core.contracts.decode; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
