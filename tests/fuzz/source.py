"""A fuzzer's bytes as choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """The fuzzer's bytes, and zeros behind them. Zero is always the most usual choice."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        return taken.ljust(count, b"\0")

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=True)

    def below(self, limit: int) -> int:
        return self.take(1)[0] % limit

    def one_in(self, count: int) -> bool:
        return self.below(count) == count - 1

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]
