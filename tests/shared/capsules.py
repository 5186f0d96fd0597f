"""DLPack capsules made by hand, with anything in them."""

import ctypes
from typing import Any

Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
Integers = ctypes.POINTER(ctypes.c_int64)


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", Integers),
        ("strides", Integers),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", Deleter))


class Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # of a capsule, whose references are gone by then

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p)


def capsule(holder: Any, name: bytes, destructor: Any = None) -> Any:
    """A capsule of `holder`. It keeps neither that nor the name nor the destructor alive."""
    return _new(ctypes.addressof(holder), name, destructor)


def name_of(capsule: Any) -> bytes:
    found: bytes = _name(capsule)
    return found


def held_by(capsule: Any) -> Managed | Versioned:
    """What a capsule that has not been used holds."""
    name = name_of(capsule)
    holder = Versioned if name == b"dltensor_versioned" else Managed
    return holder.from_address(_pointer(capsule, name))


def has_name(address: int, name: bytes) -> bool:
    """Whether the capsule at that address has it."""
    return bool(_is_valid(address, name))


class Exporter:
    """An array of a library whose arrays come and go by DLPack alone."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)
