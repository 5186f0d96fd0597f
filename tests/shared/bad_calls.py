"""Tables of bad calls: what must come of each is the whole of an error, and nothing changed."""

from collections.abc import Callable
from typing import Any

import pytest


class Table:
    """Bad calls, and how each is tried.

    Attributes:
        state_of: all that a call could change of an argument, to be compared.
        state: and of the process.
    """

    def __init__(self, state_of: Callable[[Any], Any], state: Callable[[], Any]) -> None:
        self._rows: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], type[BaseException], str]] = []
        self.state_of = state_of
        self.state = state

    def __len__(self) -> int:
        return len(self._rows)

    def row(
        self,
        error: type[BaseException],
        message: str,
        function: Callable[..., Any],
        *arguments: Any,
        **keywords: Any,
    ) -> None:
        self._rows.append((function, arguments, keywords, error, message))

    def name_of(self, number: int) -> str:
        function, arguments, keywords, *_ = self._rows[number]
        name = getattr(function, "__name__", type(function).__name__)
        return f"{number}-{name}-{'-'.join([type(a).__name__ for a in arguments] + list(keywords))}"

    def check(self, number: int) -> None:
        function, arguments, keywords, error, message = self._rows[number]
        given = [*arguments, *keywords.values()]
        before, state = [self.state_of(value) for value in given], self.state()
        with pytest.raises(error) as raised:
            function(*arguments, **keywords)
        assert (type(raised.value), str(raised.value)) == (error, message)
        assert [self.state_of(value) for value in given] == before, "the failed call wrote something"
        assert self.state() == state
