"""Fuzzes what comes by DLPack: capsules made by hand, with anything in them.

What is right is computed number by number, from where the capsule says that its elements are. And whatever comes of a
call: only the three documented errors, each byte outside the output as it was, and a deleter that is called once if the
capsule was taken and else not at all.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import mmap
from typing import Any

import numpy as np
from capsules import Deleter, Integers, Managed, Tensor, Versioned, capsule, name_of
from source import Source

import leakyrelu

CPU, READ_ONLY = 1, 1
ARENA = mmap.mmap(-1, 4096)  # elements are in its first bytes
BYTES = 1024
ADDRESS = ctypes.addressof(ctypes.c_char.from_buffer(ARENA))
FORMATS = {(2, 16, 1): np.float16, (2, 32, 1): np.float32, (2, 64, 1): np.float64}


class Exporter:
    """An array of a library that nobody has heard of, as the bytes say."""

    def __init__(self, source: Source) -> None:
        usual = not source.one_in(4)
        self.made: list[tuple[Any, Any]] = []  # capsules, and what they point to
        self.deleted: list[int] = []
        self.reuses = not usual and source.one_in(8)
        self.is_versioned = not source.one_in(3)
        self.name = b"dltensor_versioned" if self.is_versioned else b"dltensor"
        if not usual and source.one_in(8):
            self.name = source.pick([b"used_dltensor", b"used_dltensor_versioned", b"nothing", b""])
        self.managed: Any = Versioned() if self.is_versioned else Managed()
        if self.is_versioned:
            self.managed.major = 1 if usual or not source.one_in(8) else source.integer(1) % 256
            self.managed.minor = source.below(256)
            self.managed.flags = READ_ONLY if source.one_in(8) else 0
        self.deleter = Deleter(self.delete)
        self.managed.deleter = self.deleter
        self.tensor: Tensor = self.managed.tensor
        self.read_from(source, usual)
        self.says: Any = (CPU, 0)
        self.raises: type[Exception] | None = None
        if not usual and source.one_in(8):
            self.says = source.pick([None, "neither", (CPU, 0, 0), (-1, -1), (10, 0)])
        if not usual and source.one_in(8):
            self.raises = source.pick([BufferError, TypeError, ValueError, RuntimeError])

    def read_from(self, source: Source, usual: bool) -> None:
        tensor = self.tensor
        tensor.code, tensor.bits, tensor.lanes = source.pick(list(FORMATS))
        tensor.device_type, tensor.device_id = CPU, 0
        self.shape = [source.below(6) for _ in range(source.below(4))]
        strides, step = [], 1
        for extent in reversed(self.shape):
            pad = source.below(8)
            strides.insert(0, 0 if pad == 7 else -step if pad == 6 else step * (1 + (pad == 5)))
            step *= max(extent, 1) * (1 + (pad == 5))
        low = sum(min((n - 1) * s, 0) for n, s in zip(self.shape, strides, strict=True) if n > 0)
        itemsize = max(tensor.bits // 8, 1)
        offset = source.below(24) * (itemsize if usual else 1) - low * itemsize
        if usual:
            tensor.byte_offset = source.below(4) * itemsize
        else:
            if source.one_in(4):
                tensor.code, tensor.bits, tensor.lanes = (source.integer(1) % 256 for _ in range(3))
            if source.one_in(8):
                tensor.device_type, tensor.device_id = source.integer(1), source.integer(1)
            if source.one_in(4) and self.shape:
                self.shape[source.below(len(self.shape))] = source.integer(8)
            if source.one_in(4) and strides:
                strides[source.below(len(strides))] = source.integer(8)
            if source.one_in(8):
                tensor.byte_offset = source.integer(8) % (1 << 64)
        tensor.data = ADDRESS + offset
        tensor.ndim = len(self.shape)
        self.lengths = (ctypes.c_int64 * len(self.shape))(*self.shape)
        self.strides = None if source.one_in(4) else strides
        self.steps = (ctypes.c_int64 * len(strides))(*strides)
        tensor.shape = ctypes.cast(self.lengths, Integers)
        if self.strides is not None:
            tensor.strides = ctypes.cast(self.steps, Integers)
        if not usual and source.one_in(8):
            tensor.data = None
        if not usual and source.one_in(8):
            tensor.shape = Integers()
        if not usual and source.one_in(8):
            tensor.ndim = source.pick([-1, -(1 << 31), (1 << 31) - 1, 1000])

    def delete(self, managed: int) -> None:
        self.deleted.append(managed)

    def __dlpack_device__(self) -> Any:
        if self.says is None:
            raise RuntimeError("asked for it")
        return self.says

    def __dlpack__(self, *, max_version: Any = None) -> Any:
        if self.raises is not None:
            raise self.raises("asked for it")
        if not self.made or not self.reuses:
            managed = type(self.managed).from_buffer_copy(self.managed)
            self.made.append((capsule(managed, self.name), managed))
        return self.made[-1][0]

    def check_deleters(self) -> None:
        taken = [ctypes.addressof(managed) for made, managed in self.made if name_of(made) != self.name]
        assert sorted(self.deleted) == sorted(taken), f"{len(taken)} taken, {len(self.deleted)} deleted"

    def elements(self) -> list[int] | None:
        """The addresses of all elements; None where something is wrong with them."""
        tensor = self.tensor
        dtype = (tensor.code, tensor.bits, tensor.lanes)
        version_is_known = not self.is_versioned or self.managed.major == 1
        if tensor.ndim != len(self.shape) or min(self.shape, default=0) < 0 or (self.shape and not tensor.shape):
            return None
        if not self.name.startswith(b"dltensor") or not version_is_known or self.raises is not None:
            return None
        if dtype not in FORMATS or tensor.device_type != CPU:
            return None
        count = math.prod(self.shape)
        strides = self.strides
        if strides is None:
            strides = [math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))]
        reaches = [(n - 1) * s * tensor.bits // 8 for n, s in zip(self.shape, strides, strict=True)]
        begin = (tensor.data or 0) + tensor.byte_offset
        low = begin + sum(reach for reach in reaches if reach < 0)
        end = begin + sum(reach for reach in reaches if reach > 0) + tensor.bits // 8
        if count >= 1 << 63 or (count and (not tensor.data or low < 0 or end > 1 << 64 or end - low > 1 << 63)):
            return None
        if count > BYTES or max(self.shape, default=0) > BYTES:  # NumPy has bounds even where there is no element
            raise NotInArena
        at = [
            begin + sum(i * s for i, s in zip(index, strides, strict=True)) * tensor.bits // 8
            for index in (itertools.product(*map(range, self.shape)) if count else ())
        ]
        if at and not (min(at) >= ADDRESS and max(at) + tensor.bits // 8 <= ADDRESS + BYTES):
            raise NotInArena
        return at


class NotInArena(Exception):
    """It would be read where nobody can say what is there."""


def bytes_at(memory: bytes, at: list[int], itemsize: int) -> bytes:
    return b"".join(memory[a - ADDRESS : a - ADDRESS + itemsize] for a in at)


def target(data: bytes) -> None:
    source = Source(data)
    slope = source.pick([0.01, -0.5, 0.0, float("nan"), 2.0])
    kind = source.pick(["plain", "with mask", "in place", "out", "gradient"])
    ARENA[:BYTES] = np.resize(np.frombuffer(source.take(16), np.uint8), BYTES).tobytes()
    exporter = Exporter(source)
    try:
        at = exporter.elements()
    except NotInArena:
        return
    before = ARENA[:]
    writes = kind in ("in place", "out")
    can_write = exporter.is_versioned and not exporter.managed.flags & READ_ONLY
    is_right = at is not None and not (
        (writes and (not can_write or len(set(at)) < len(at))) or (kind == "in place" and exporter.reuses)
    )
    format = FORMATS.get((exporter.tensor.code, exporter.tensor.bits, exporter.tensor.lanes), np.float32)
    itemsize = np.dtype(format).itemsize
    shape = exporter.shape if at is not None else [0]
    x = np.frombuffer(bytes_at(before, at or [], itemsize), format).reshape(shape)
    if kind == "out":
        x = np.flip(x).copy()
    positive = x > 0
    bits = np.packbits(positive, bitorder="little")
    mask: Any = None
    try:
        if kind == "plain":
            y: Any = leakyrelu.leaky_relu(exporter, slope)
        elif kind == "with mask":
            y, mask = leakyrelu.leaky_relu_with_mask(exporter, slope)
        elif kind == "in place":
            y = leakyrelu.leaky_relu(exporter, slope, inplace=True)
        elif kind == "out":
            y = leakyrelu.leaky_relu(x, slope, out=exporter)
        else:
            y = leakyrelu.leaky_relu_backward(exporter, bits, slope)
    except (TypeError, ValueError, MemoryError) as error:
        assert not is_right, f"refused, with nothing wrong: {error}"
        assert ARENA[:] == before, "written in spite of an error"
        del error
        exporter.check_deleters()
        return
    assert is_right, "what is wrong is not seen"
    assert at is not None
    y = np.frombuffer(bytes_at(ARENA[:], at, itemsize), format).reshape(shape) if writes else np.asarray(y)
    computed = np.float64 if itemsize == 8 else np.float32
    with np.errstate(all="ignore"):
        expected = np.where(positive, x, (x.astype(computed) * computed(slope)).astype(format))
    word = f"u{itemsize}"
    assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
    assert np.all((expected.view(word) == y.view(word)) | (np.isnan(expected) & np.isnan(y))), "a wrong value"
    assert mask is None or np.array_equal(np.asarray(mask), bits), "a wrong mask"
    written = {a - ADDRESS + i for a in at for i in range(itemsize)} if writes else set()
    after = ARENA[:]
    assert after == before or all(after[i] == before[i] or i in written for i in range(len(after))), "written elsewhere"
    del y, mask
    exporter.check_deleters()
