"""The list of mutations: that it applies to the sources as they are. What becomes of each, ./dev mutations says."""

from pathlib import Path

import pytest
from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_its_text_is_there_once(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.new != mutation.old


def test_names_are_unique() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_files_that_are_asked_are_there() -> None:
    files = {word for mutation in MUTATIONS for test in mutation.asks for word in test.split() if word.endswith(".py")}
    assert {file for file in files if not (ROOT / file).is_file()} == set()
