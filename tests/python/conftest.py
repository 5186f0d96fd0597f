"""How the tests of this folder run."""

from typing import Any

import hypothesis
import numpy as np
import pytest
from array_cases import DTYPES

hypothesis.settings.register_profile("leakyrelu", deadline=None, max_examples=200)
hypothesis.settings.load_profile("leakyrelu")


@pytest.fixture(params=DTYPES, ids=lambda dtype: dtype.name)
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    return request.param
