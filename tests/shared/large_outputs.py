"""What the tests of large outputs' memory share, whoever owns the outputs: arrays or tensors."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import leakyrelu
from leakyrelu import _core

MIB = 1 << 20
SEQUENCES = settings(max_examples=25, stateful_step_count=25, deadline=None)


def stats(name: str) -> int:
    return leakyrelu.memory_stats()[name]


def start_anew() -> None:
    """The default limit, nothing kept, and large outputs that are not too large for a test."""
    _core.set_large_bytes(MIB)
    leakyrelu.set_cache_limit(None)
    leakyrelu.empty_cache()


def holds(output: Any, value: float) -> bool:
    return bool((output == value).all())


class LiveOutputs(RuleBasedStateMachine):
    """Outputs that hold one value each, freed in any order, under changing limits."""

    def __init__(self) -> None:
        super().__init__()
        start_anew()
        self.before = stats("in_use")
        self.limit = stats("limit")
        self.live: list[tuple[Any, float]] = []
        self.values = iter(range(1, 1 << 20))

    def value(self) -> float:
        return -float(next(self.values))

    def pick(self, data: st.DataObject) -> tuple[Any, float]:
        return self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        self.pick(data)

    @rule()
    def empty(self) -> None:
        leakyrelu.empty_cache()
        assert stats("cached") == 0

    @rule(limit=st.sampled_from([0, 1, 2 * MIB, 5 * MIB, 1 << 40, None]))
    def set_limit(self, limit: int | None) -> None:
        leakyrelu.set_cache_limit(limit)
        self.limit = stats("limit") if limit is None else limit

    @invariant()
    def contents(self) -> None:
        for output, value in self.live:
            assert holds(output, value)

    @invariant()
    def numbers(self) -> None:
        now = leakyrelu.memory_stats()
        assert now["in_use"] >= self.before
        assert now["limit"] == self.limit
        assert 0 <= now["cached"] <= self.limit

    def teardown(self) -> None:
        self.live.clear()
