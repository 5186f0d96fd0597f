"""Proves that two processes train by DDP, FSDP2 and DTensor as with the original, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import distributed_cases
import pytest

SECONDS = 120


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What each process says of each case; all run in one group, which takes long to make."""
    folder = tmp_path_factory.mktemp("distributed")
    script = Path(distributed_cases.__file__)
    shared = script.parents[1] / "shared"
    environment = {**os.environ, "PYTHONPATH": str(shared), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    outputs = [folder / f"output{rank}" for rank in range(distributed_cases.WORLD)]
    processes = []
    for rank, output in enumerate(outputs):
        with output.open("w") as file:
            processes.append(
                subprocess.Popen(
                    [sys.executable, script, str(rank), str(folder / "store")],
                    stdout=file,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
            )
    try:
        for process in processes:
            process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        pass  # the cases that did not come to an end are missing
    finally:
        for process in processes:
            process.kill()
            process.wait()
    said: dict[str, set[str]] = {case.__name__: set() for case in distributed_cases.CASES}
    for output in outputs:
        seen = dict(line.split("\t", 1) for line in output.read_text().splitlines() if "\t" in line)
        for name, results in said.items():
            results.add(seen.get(name, "did not come to an end"))
    return said


@pytest.mark.parametrize("case", [case.__name__ for case in distributed_cases.CASES])
def test_case(case: str, outcomes: dict[str, set[str]]) -> None:
    assert outcomes[case] == {"passed"}
