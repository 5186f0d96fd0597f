"""python -m benchmarks BUILD [--full]: measures, prints, and draws out/bench/speedup.svg and sizes.png."""

import argparse
import time
from pathlib import Path

from rich.console import Console

OUT = Path("out/bench")
_WIDTH = 240  # where no terminal limits it


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="leakyrelu beside its peers")
    parser.add_argument("build", type=Path, help="the folder with libnative_peers.so")
    parser.add_argument("--full", action="store_true", help="every case, and more rounds: up to 20 minutes")
    arguments = parser.parse_args()
    # Here, so that the child processes, which import this module's package, do not pay for it.
    from benchmarks import bench, plots, report

    start = time.monotonic()
    console = Console() if Console().is_terminal else Console(width=_WIDTH)
    document = bench.run(arguments.build, arguments.full, console)
    OUT.mkdir(parents=True, exist_ok=True)
    plots.speedup(document).savefig(OUT / "speedup.svg")
    plots.sizes(document).savefig(OUT / "sizes.png", dpi=130)
    for table in report.tables(document):
        console.print(table.rich())
    for line in report.lines(document):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{time.monotonic() - start:.0f} s; pictures: {OUT / 'speedup.svg'}, {OUT / 'sizes.png'}")


if __name__ == "__main__":
    main()
