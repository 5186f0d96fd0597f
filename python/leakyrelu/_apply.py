"""The file work of ``leakyrelu apply``: .npy files of any size, and targets whole or untouched."""

from __future__ import annotations

import contextlib
import io
import math
import os
import secrets
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import leakyrelu
from leakyrelu import _core

CHUNK_BYTES = 4 << 20  # A multiple of 64: only the last chunk can end inside a byte of the mask.

_DTYPES = {np.dtype(name) for name in _core.DTYPES if hasattr(np, name)}  # those that files have a name for


def apply(
    source: Path,
    target: Path,
    negative_slope: float,
    mask_target: Path | None,
    progress: Callable[[int, int], None],
) -> str:
    """Writes LeakyReLU of one .npy file to another, in the input's dtype, shape and order.

    Args:
        source: The input. ``target`` may be the same file.
        target: The output.
        negative_slope: The slope, as in `leakyrelu.leaky_relu`.
        mask_target: Where to write ``numpy.packbits(x.ravel() > 0, bitorder="little")``, or None.
        progress: Called after each chunk with the elements done and in all. What it raises ends
            the work and leaves the targets as they were: the place to act on an interrupt.

    Returns:
        Dtype and shape in words.

    Raises:
        TypeError: The dtype is not supported.
        ValueError: The file is not a whole .npy file, or the slope does not fit the dtype.
        OSError: A file cannot be read or written.
    """
    _require_regular(source)
    with source.open("rb") as file:
        shape, fortran_order, dtype, offset = _read_header(file, source)
        count, native = math.prod(shape), dtype.newbyteorder("=")
        chunk = CHUNK_BYTES // dtype.itemsize
        buffer = np.empty(min(chunk, count), native)
        # Elements are read and written in the file's order, but the mask counts them in C order,
        # so a Fortran-ordered file is read a second way for it. An empty one cannot be mapped.
        in_c_order = None
        if mask_target is not None and fortran_order and count > 0:
            in_c_order = np.memmap(file, dtype, "r", offset, shape, "F").flat

        targets = [target] if mask_target is None else [target, mask_target]
        with replacing(*targets) as (output, *masks):
            _write_header(output, shape, fortran_order, dtype)
            for mask in masks:
                _write_header(mask, (_core.mask_bytes(count),), False, np.dtype(np.uint8))
            file.seek(offset)
            # Once even if there is no element, so that the library judges every slope.
            for start in range(0, max(count, 1), chunk):
                x = buffer[: count - start]
                if file.readinto(x.data) != x.nbytes:
                    raise ValueError(f"{source}: became shorter while it was read")
                if dtype != native:
                    x.byteswap(inplace=True)
                if masks and in_c_order is None:
                    _, bits = leakyrelu.leaky_relu_with_mask(x, negative_slope, out=x)
                else:
                    leakyrelu.leaky_relu(x, negative_slope, inplace=True)
                if dtype != native:
                    x.byteswap(inplace=True)
                output.write(x.data)
                if in_c_order is not None:
                    values = in_c_order[start : start + chunk].astype(native)
                    _, bits = leakyrelu.leaky_relu_with_mask(values, negative_slope)
                for mask in masks:
                    mask.write(bits.data)
                progress(start + x.size, count)
    return f"{native.name} of shape {shape}"


@contextlib.contextmanager
def replacing(*targets: Path) -> Iterator[list[BinaryIO]]:
    """Yields a new file for each target, which takes its place at the end or vanishes on an error.

    Each lies beside its target (behind symbolic links), so that the move is one atomic rename, and
    gets the target's permissions. Nothing is moved before all are complete and on disk.
    """
    finals = [Path(os.path.realpath(target)) for target in targets]
    created = [final.with_name(f".leakyrelu-{secrets.token_hex(8)}.tmp") for final in finals]
    try:
        with contextlib.ExitStack() as stack:
            pairs = zip(created, finals, strict=True)
            files = [stack.enter_context(_create(new, final)) for new, final in pairs]
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for new, final in zip(created, finals, strict=True):
            new.replace(final)
    finally:
        for new in created:
            with contextlib.suppress(OSError):  # Moved already, or never made.
                new.unlink()


def _create(new: Path, target: Path) -> BinaryIO:
    """Creates a file that is to replace ``target``."""
    mode = None
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(_require_regular(target).st_mode)
        if not os.access(target, os.W_OK):
            raise PermissionError(f"{target}: is read-only")
    try:
        # Never readable by more people than the target, not even while it is empty.
        permissions = 0o666 if mode is None else 0o600
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    if mode is not None:
        new.chmod(mode)
    return os.fdopen(descriptor, "wb")


def _require_regular(path: Path) -> os.stat_result:
    """Raises for folders, devices and pipes: no size to check, and never to be replaced."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: is not a regular file")
    return status


def _write_header(file: BinaryIO, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype[Any]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": fortran_order, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _read_header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Returns shape, fortran_order, dtype and where the elements begin; all of it is checked."""
    head = io.BytesIO(file.read(1 << 16))  # numpy refuses longer ones, but only after reading all.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(head)
            if version == (1, 0):
                shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(head)
            elif version in ((2, 0), (3, 0)):  # They differ in the names of fields alone.
                shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(head)
            else:
                raise ValueError(f"its format version {version} is unknown")
            if any(length < 0 for length in shape):
                raise ValueError(f"its shape {shape} is negative")
    except Exception as error:  # Forged headers get errors of every kind out of the parsers.
        raise ValueError(f"{path}: is not a .npy file: {error}") from None

    if dtype.newbyteorder("=") not in _DTYPES:
        hint = ""
        if dtype.hasobject:
            hint = "; pickled objects are never loaded"
        elif dtype == np.dtype("V2"):
            hint = " (.npy files do not record bfloat16: save x.astype(numpy.float32))"
        raise TypeError(f"{path}: has dtype {dtype}; supported are {_core.SUPPORTED}{hint}")

    surplus = os.fstat(file.fileno()).st_size - head.tell() - math.prod(shape) * dtype.itemsize
    if surplus < 0:
        raise ValueError(f"{path}: is truncated: has fewer bytes than its shape {shape} needs")
    if surplus > 0:  # Ignored, they would be lost where the output replaces the input.
        raise ValueError(f"{path}: has {surplus} bytes more than its shape {shape} needs")
    return tuple(map(int, shape)), fortran_order, dtype, head.tell()
