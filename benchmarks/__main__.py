"""python -m benchmarks BUILD [--full]: measures, prints, and writes out/bench."""

import argparse
import json
import logging
import time
from pathlib import Path

from rich.console import Console

OUT = Path("out/bench")
_WIDTH = 240  # where no terminal limits it


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="leakyrelu beside its peers")
    parser.add_argument("build", type=Path, help="the folder with kernels_bench and libnative_peers.so")
    parser.add_argument("--full", action="store_true", help="every case, and more rounds: up to 20 minutes")
    arguments = parser.parse_args()
    # Here, so that the child processes, which import this module's package, do not pay for it.
    from benchmarks import bench, plots, report

    logging.getLogger("jax").setLevel(logging.ERROR)
    start = time.monotonic()
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=_WIDTH)
    document = bench.run(arguments.build, arguments.full, console)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps(document, indent=1))
    (OUT / "bench.md").write_text(report.page(document, plots.draw(document, OUT)))
    for table in report.tables(document):
        console.print(table.rich())
    for name, value in document["machine"].items():
        console.print(f"{name}: {value}", markup=False, highlight=False)
    for line in report.lines(document):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{time.monotonic() - start:.0f} s; all of it is in {OUT}: bench.md, bench.json, the pictures")


if __name__ == "__main__":
    main()
