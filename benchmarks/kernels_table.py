"""Runs the kernel benchmark, everything interleaved in one process, and prints its ratios as a table.

    kernels_table.py PATH/TO/kernels_bench [TARGET]

TARGET is an instruction set by Highway's name; without it, the one that the library chooses.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from leakyrelu import _core

KERNELS = {"forward": "forward", "forward_mask": "forward and mask", "backward": "backward"}


def measure(program: str, target: str) -> dict[str, tuple[float, float]]:
    """Median bytes a second and elements a nanosecond of each benchmark by name."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [
            program,
            f"--benchmark_filter=memcpy|plain_loop|/{target}/",
            "--benchmark_enable_random_interleaving=true",
            "--benchmark_repetitions=9",
            "--benchmark_min_time=0.05",
            f"--benchmark_out={result}",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        runs = json.loads(result.read_text())["benchmarks"]
    return {
        run["run_name"].removesuffix("/real_time"): (run["bytes_per_second"], run["elements/ns"])
        for run in runs
        if run.get("aggregate_name") == "median"
    }


def main() -> None:
    program, *rest = sys.argv[1:]
    target = rest[0] if rest else _core.targets()[2]
    runs = measure(program, target)
    console = Console()
    for size in ("16KiB", "256KiB", "256MiB"):
        copy, _ = runs[f"{size}/memcpy"]
        title = f"{size} an array, one thread, {target}; memcpy: {copy / 2e9:.1f} GB/s"
        table = Table(title=title, caption="speed over memcpy's (elements a nanosecond)")
        table.add_column("dtype")
        for heading in (*KERNELS.values(), "plain loop"):
            table.add_column(heading, justify="right")
        for dtype in _core.DTYPES:
            cells = [runs[f"{size}/{dtype}/{target}/{kernel}"] for kernel in KERNELS]
            cells.append(runs[f"{size}/{dtype}/plain_loop"])
            table.add_row(dtype, *(f"{speed / copy:.2f} ({rate:.1f})" for speed, rate in cells))
        console.print(table)


if __name__ == "__main__":
    main()
