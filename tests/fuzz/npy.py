"""Fuzzes the reader of ``leakyrelu apply`` with files of any bytes, beside numpy's own reader.

What is refused must be what numpy refuses too, or another dtype, or have bytes left over; and the targets must be as
they were. What is accepted must give, bit for bit, what the formula gives of numpy's array.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from source import Source

from leakyrelu import _apply

_apply.CHUNK_BYTES = 64  # so that small files have many chunks, too

# In memory where there is such a place: each call waits for the disk.
_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_folder = tempfile.TemporaryDirectory(dir=_memory)
_source, _target, _mask = (Path(_folder.name) / name for name in ("in.npy", "out.npy", "mask.npy"))
_OLD = b"as it was"

_DESCRIPTORS = ["<f4", "<f2", "<f8", ">f4", ">f2", ">f8", "|f4", "<i4", "|V2", "|O", "<c8", "|b1", "<f16", "<M8[s]"]
_MAGIC = b"\x93NUMPY"


def forged(source: Source) -> bytes:
    """A file that is nearly right, with a part of it anything."""
    shape = [source.below(6) for _ in range(source.below(4))]
    if source.one_in(8):
        shape.append(source.integer(8))
    count = int(np.prod(shape, dtype=object)) if shape else 1
    descriptor = source.pick(_DESCRIPTORS) if source.one_in(4) else _DESCRIPTORS[source.below(6)]
    fortran_order: Any = source.pick([False, True, False, True, False, True, 1, None, "no"])
    header = repr({"descr": descriptor, "fortran_order": fortran_order, "shape": tuple(shape)}).encode()
    if source.one_in(8):
        at = source.below(len(header))
        header = header[:at] + source.take(source.below(6)) + header[at + source.below(6) :]
    version = source.pick([1, 2, 3, 1, 1, 2, 3, 0, 4])
    length = len(header) + (source.integer(4) if source.one_in(16) else 0)
    width = 2 if version == 1 else 4
    itemsize = int(descriptor.lstrip("<>|=fiVObcM")[:2].rstrip("[s") or 8)
    elements = min(max(count, 0), 512) * itemsize
    if source.one_in(8):
        elements += source.integer(1)
    data = np.resize(np.frombuffer(source.take(64), np.uint8), max(elements, 0)).tobytes()
    minor = source.below(256) if source.one_in(16) else 0
    return _MAGIC + bytes([version, minor]) + (length % 256**width).to_bytes(width, "little") + header + data


def read(data: bytes) -> np.ndarray[Any, Any] | None:
    """What numpy reads of such a file, if it takes it as a whole."""
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = np.lib.format.read_array(file, allow_pickle=False)
    except Exception:
        return None
    return x if file.tell() == len(data) and x.dtype.newbyteorder("=") in (np.float16, np.float32, np.float64) else None


def target(data: bytes) -> None:
    source = Source(data)
    slope = source.pick([0.01, -0.5, 0.0, float("nan"), float("inf"), 2.0, 1e300])
    wants_mask = source.one_in(2)
    if not source.data.startswith(_MAGIC):
        source.data = forged(source)
    _source.write_bytes(source.data)
    _target.write_bytes(_OLD)
    _mask.write_bytes(_OLD)
    x = read(source.data)
    try:
        _apply.apply(_source, _target, slope, _mask if wants_mask else None, lambda done, of: None)
    except (TypeError, ValueError) as error:
        too_large = x is not None and x.dtype.itemsize < 8 and slope == 1e300
        assert x is None or too_large, f"refused what numpy reads: {error}"
        assert _target.read_bytes() == _OLD, "the output was touched"
        assert _mask.read_bytes() == _OLD, "the mask was touched"
    else:
        if x is not None:
            compare(x, slope, wants_mask)
        else:  # numpy has bounds for extents even where there is no element
            with _target.open("rb") as file:
                np.lib.format.read_magic(file)
                assert 0 in np.lib.format.read_array_header_1_0(file)[0], "accepted what numpy does not read"
    assert _source.read_bytes() == source.data, "the input was touched"
    assert len(os.listdir(_folder.name)) == 3, "a file was left behind"


def compare(x: np.ndarray[Any, Any], slope: float, wants_mask: bool) -> None:
    y = np.load(_target)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert y.flags.f_contiguous == x.flags.f_contiguous
    assert y.flags.c_contiguous == x.flags.c_contiguous
    native = x.ravel().astype(x.dtype.newbyteorder("="))  # flat: a shape can be too large for another dtype
    computed = np.float64 if native.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        scaled = (native.astype(computed) * computed(slope)).astype(native.dtype)
        expected = np.where(native > 0, native, scaled)
    word = f"u{native.itemsize}"
    y = y.ravel().astype(native.dtype)
    same = (expected.view(word) == y.view(word)) | (np.isnan(expected) & np.isnan(y))
    assert np.all(same), "a wrong value"
    if wants_mask:
        assert np.array_equal(np.load(_mask), np.packbits(native > 0, bitorder="little")), "a wrong mask"
    else:
        assert _mask.read_bytes() == _OLD
