"""The kernels alone on one thread, by Google Benchmark: kernels_bench.cc beside memcpy and a plain loop."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from leakyrelu import _core

KERNELS = {"forward": "forward", "forward_mask": "forward and mask", "backward": "backward"}
SIZES = ("16KiB", "256KiB", "256MiB")


def measure(program: Path, full: bool) -> list[dict[str, Any]]:
    """Bytes and elements per second of each kernel, one for each repetition; of all targets, or of the one in use."""
    _, supported, active = _core.targets()
    targets = supported if full else [active]
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [
            str(program),
            f"--benchmark_filter=memcpy|plain_loop|/({'|'.join(targets)})/",
            "--benchmark_enable_random_interleaving=true",
            f"--benchmark_repetitions={9 if full else 3}",
            f"--benchmark_min_time={0.05 if full else 0.01}",
            f"--benchmark_out={result}",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        runs = [run for run in json.loads(result.read_text())["benchmarks"] if run["run_type"] == "iteration"]
    found: dict[str, dict[str, Any]] = {}
    for run in sorted(runs, key=lambda run: int(run["repetition_index"])):
        name = run["run_name"].removesuffix("/real_time")
        size, *middle, kernel = name.split("/")
        dtype, target = (*middle, "", "")[:2]
        entry = {"size": size, "dtype": dtype, "target": target, "kernel": kernel, "bytes_a_second": []}
        entry = found.setdefault(name, entry | {"elements_a_ns": []})
        entry["bytes_a_second"].append(run["bytes_per_second"])
        entry["elements_a_ns"].append(run["elements/ns"])
    return list(found.values())
