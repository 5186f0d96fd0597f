"""What the tests on CUDA devices run on: a card, or the fake one that ./dev preloads (tests/cuda/fake_card.cc)."""

import ctypes

import pytest

process = ctypes.CDLL(None)
IS_FAKE = hasattr(process, "fake_card_current_device")

# torch's own kernels do not run on the fake card: there inputs come from the CPU, and so do the expected results.
real_card = pytest.mark.skipif(IS_FAKE, reason="needs torch's own kernels, which do not run on the fake card")
fake_card = pytest.mark.skipif(not IS_FAKE, reason="asks the fake card")


# ---- Of the fake card


def current_device() -> int:
    """The device that is current for this thread."""
    return int(process.fake_card_current_device())


def memory_device(address: int) -> int:
    """The device whose memory is at the address, or -1."""
    return int(process.fake_card_memory_device(ctypes.c_void_p(address)))


def waits(device: int) -> int:
    """How often the host has waited for a stream of the device."""
    return int(process.fake_card_waits(device))


def launches_under_gil() -> int:
    """How often a thread that held the GIL has launched one of our kernels."""
    return int(process.fake_card_launches_under_gil())


def memory_used(device: int) -> int:
    """Bytes of the device's memory."""
    free, total, before = ctypes.c_size_t(), ctypes.c_size_t(), current_device()
    assert process.cudaSetDevice(device) == 0
    assert process.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) == 0
    assert process.cudaSetDevice(before) == 0
    return total.value - free.value


class Memory:
    """Bytes in a device's memory, which is the host's."""

    def __init__(self, size: int, device: int) -> None:
        before, address = current_device(), ctypes.c_void_p()
        assert process.cudaSetDevice(device) == 0
        assert process.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(max(size, 1))) == 0
        assert process.cudaSetDevice(before) == 0
        self.address = address.value
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (self.address, False), "version": 3}

    def __del__(self) -> None:
        before = current_device()
        process.cudaFree(ctypes.c_void_p(self.address))
        process.cudaSetDevice(before)
