"""Fuzzes everything for so many seconds in all: python tests/fuzz SECONDS LLVM_PROFDATA LLVM_COV.

Begins with the corpus in the tree and what out/fuzz has of earlier runs. The exit status is 1 if something was found.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE, OUT = ROOT / "tests/fuzz", ROOT / "out/fuzz"
PROGRAM = ROOT / "build/fuzz/tests/fuzz_calls"

# Each target's command and its share of the time.
TARGETS = {
    "calls": ([PROGRAM], 0.6),
    "npy": ([sys.executable, HERE / "in_python.py", "npy"], 0.2),
    "exports": ([sys.executable, HERE / "in_python.py", "exports"], 0.2),
}


def last(pattern: str, log: str) -> str:
    return (re.findall(pattern, log) or ["-"])[-1]


def fuzz(name: str, seconds: float) -> tuple[list[str], list[Path]]:
    """Returns a line of the table, and the files of inputs that something is wrong with."""
    command, share = TARGETS[name]
    corpus = OUT / name
    corpus.mkdir(parents=True, exist_ok=True)
    known = set(OUT.glob(f"{name}-*"))
    time = max(round(seconds * share), 1)
    options = [f"-max_total_time={time}", "-max_len=512", "-len_control=0", "-print_final_stats=1"]
    options += ["-timeout=60", "-report_slow_units=60"]  # on a busy machine anything may take seconds
    log_path = OUT / f"{name}.log"
    with log_path.open("w") as log_file:
        status = subprocess.run(
            [*command, *options, f"-artifact_prefix={OUT}/{name}-", corpus, HERE / "corpus" / name],
            env=os.environ | {"LLVM_PROFILE_FILE": str(OUT / f"{name}.profraw")},
            stdout=log_file,
            stderr=subprocess.STDOUT,
        ).returncode
    log = log_path.read_text(errors="replace")
    found = sorted(set(OUT.glob(f"{name}-*")) - known)
    if status != 0 and not found:
        found = [log_path]
    line = [
        name,
        last(r"stat::number_of_executed_units:\s+(\d+)", log),
        last(r"\bcov: (\d+)", log),
        last(r"\bcorp: (\d+)", log),
        str(len(found)),
    ]
    return line, found


def main() -> int:
    seconds, profdata, cov = float(sys.argv[1]), *sys.argv[2:4]
    lines, found = [["target", "executions", "edges", "corpus", "found"]], []
    for name in TARGETS:
        line, files = fuzz(name, seconds)
        lines.append(line)
        found += files
    for line in lines:
        print(f"{line[0]:10}", *(f"{field:>12}" for field in line[1:]))
    raw, merged = OUT / "calls.profraw", OUT / "calls.profdata"
    if raw.exists() and raw.stat().st_size > 0 and Path(cov).exists():
        subprocess.run([profdata, "merge", raw, "-o", merged], check=True)
        # Of kernels, compiled for each instruction set, llvm-cov counts a set that need not be the one in use.
        report = [cov, "report", PROGRAM, f"-instr-profile={merged}", ROOT / "src", "-show-region-summary=0"]
        report += [r"-ignore-filename-regex=src/(kernels\.|formula|.*-inl)"]
        print("\nCoverage of src by calls, without kernels:", flush=True)
        subprocess.run(report, check=True)
    for file in found:
        print(f"found: {file.relative_to(ROOT)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
