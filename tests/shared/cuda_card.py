"""What the tests on CUDA devices run on: a card, or the fake one that ./dev preloads (tests/cuda/fake_card.cc)."""

import ctypes

import pytest

_process = ctypes.CDLL(None)
IS_FAKE = hasattr(_process, "fake_card_current_device")

# torch's own kernels do not run on the fake card: there inputs come from the CPU, and so do the expected results.
real_card = pytest.mark.skipif(IS_FAKE, reason="needs torch's own kernels, which do not run on the fake card")
fake_card = pytest.mark.skipif(not IS_FAKE, reason="asks the fake card")


def current_device() -> int:
    """The fake card's word for which device is current for this thread."""
    return int(_process.fake_card_current_device())
