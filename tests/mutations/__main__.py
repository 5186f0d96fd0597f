"""Puts faults into a copy of the sources, one at a time, and finds out which test catches each.

    python tests/mutations [NAME...]

NAME is a mutation's name, or a part of the path of its file; without one it is the turn of all. The copy and its builds
are in out/mutations, so that nothing is left in the checkout however this ends. What was caught is kept there until the
file or the mutation changes, so that the next run goes on; remove the folder for all anew.

The exit status is 1 if the tests fail without a mutation, if one does not apply or build, if one survives without a
reason, or if one is caught that has a reason to survive.
"""

import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out/mutations"
TREE = OUT / "tree"
STATE = OUT / "state.json"
REPORT = OUT / "report.md"

# Quick to compile; and of the kernels the two kinds that differ in their code, with conversions of float16 and without.
FLAGS = "-O1"
if os.uname().machine == "x86_64":
    FLAGS += ' -mssse3 "-DHWY_DISABLED_TARGETS=(HWY_SSE4|(HWY_AVX2-1))"'
OPTIONS = {
    "core": ["-DLEAKYRELU_TESTS=ON"],
    "python": ["-DLEAKYRELU_PYTHON=ON", "-DLEAKYRELU_CUDA=OFF", f"-DPython_EXECUTABLE={sys.executable}"],
}


class Wrong(Exception):
    """The list or the tests are not as they must be."""


# ---- What has been found so far


class State:
    """What is kept between runs: which tests pass without a mutation, in how many seconds, and what was caught."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {"tree": "", "passed": {}, "caught": {}}
        with contextlib.suppress(FileNotFoundError):
            self._kept = json.loads(STATE.read_text())

    def begin(self, tree: str) -> None:
        """Forgets what passed in another tree."""
        if self._kept["tree"] != tree:
            self._kept |= {"tree": tree, "passed": {}}

    @property
    def passed(self) -> dict[str, float]:
        kept: dict[str, float] = self._kept["passed"]
        return kept

    @property
    def caught(self) -> dict[str, tuple[str, float]]:
        kept: dict[str, tuple[str, float]] = self._kept["caught"]
        return kept

    def save(self) -> None:
        STATE.write_text(json.dumps(self._kept, indent=1))


# ---- The copy


def copy_tree() -> str:
    """Makes the copy what the checkout is now; returns a hash of what the tests can see."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    digest = hashlib.sha256()
    for name in sorted(names):
        source, target = ROOT / name, TREE / name
        content = source.read_bytes()
        if not name.startswith("tests/mutations/") and not name.endswith(".md"):
            digest.update(f"{name} {len(content)}\n".encode() + content)
        if not target.is_file() or target.read_bytes() != content:  # else its time stays, and what is built of it
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
            target.touch()
    for folder in ("bindings", "include", "python", "src", "tests"):  # what would be found though nobody names it
        for path in (TREE / folder).rglob("*.[chp]*"):
            is_made = path.name.endswith((".pyc", ".so"))
            if path.is_file() and not is_made and str(path.relative_to(TREE)) not in names:
                path.unlink()
    return digest.hexdigest()


@contextlib.contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    path = TREE / mutation.file
    text = path.read_text()
    path.write_text(text.replace(mutation.old, mutation.new))
    try:
        yield
    finally:
        path.write_text(text)


# ---- The tests


@dataclass(frozen=True)
class Run:
    """How a command ended: its status, or None where it was stopped after its time."""

    status: int | None
    output: str
    seconds: float


def run(command: list[str], seconds: float, log: TextIO, **environment: str) -> Run:
    log.write(f"\n$ {' '.join(command)}\n")
    log.flush()
    begin, start = log.tell(), time.monotonic()
    # In a session of its own, so that its children end with it.
    process = subprocess.Popen(
        command, cwd=TREE, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    status: int | None = None
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    log.flush()
    with Path(log.name).open(errors="replace") as written:
        written.seek(begin)
        return Run(status, written.read(), time.monotonic() - start)


class Builds:
    """The two builds of the copy, and the tests on them."""

    def __init__(self) -> None:
        self._programs: dict[str, tuple[list[str], dict[str, str]]] = {}

    @staticmethod
    def _folder(kind: str) -> Path:
        return OUT / f"build-{kind}"

    def make(self, kind: str, log: TextIO, *targets: str) -> None:
        folder = self._folder(kind)
        if not targets:
            launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
            options = [
                "-G",
                "Ninja",
                "-DCMAKE_BUILD_TYPE=None",
                f"-DCMAKE_CXX_FLAGS={FLAGS}",
                *launcher,
                *OPTIONS[kind],
            ]
            self._must(run(["cmake", "-S", str(TREE), "-B", str(folder), *options], 600, log), "configuring")
        jobs = f"-j{os.cpu_count()}"
        self._must(
            run(["cmake", "--build", str(folder), jobs, "--target", *(targets or ["all"])], 7200, log), "building"
        )
        if kind == "python":
            prefix = str(TREE / "python/leakyrelu")
            self._must(run(["cmake", "--install", str(folder), "--prefix", prefix], 600, log), "installing")

    @staticmethod
    def _must(done: Run, what: str) -> None:
        if done.status != 0:
            raise Wrong(f"{what} fails: {done.output[-3000:]}")

    def programs(self) -> list[str]:
        """The names that CTest has for the C++ tests."""
        if not self._programs:
            command = ["ctest", "--test-dir", str(self._folder("core")), "--show-only=json-v1"]
            shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            for test in shown["tests"]:
                properties = {each["name"]: each["value"] for each in test.get("properties", [])}
                if "SKIP_RETURN_CODE" not in properties:  # else it wants a CUDA compiler
                    environment = dict(each.split("=", 1) for each in properties.get("ENVIRONMENT", []))
                    self._programs[test["name"]] = (test["command"], environment)
        return list(self._programs)

    def ask(self, test: str, seconds: float, log: TextIO) -> tuple[str, float]:
        """Returns what fails, or nothing; and how long it took."""
        if test.endswith(".py"):
            self.make("python", log, "all")
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *test.split()]
            done = run(command, seconds, log, PYTHONPATH=str(TREE / "python"), PYTHONDONTWRITEBYTECODE="1")
        else:
            command, environment = self._programs[test]
            self.make("core", log, Path(command[0]).name)
            done = run(command, seconds, log, GTEST_BREAK_ON_FAILURE="1", **environment)
        return "" if done.status == 0 else f"`{test}`: {what_failed(done)}", done.seconds


def what_failed(done: Run) -> str:
    started = re.findall(r"^\[ RUN +\] (\S+)", done.output, re.MULTILINE)
    named = re.findall(r"^(?:FAILED|ERROR) (?:\S+::)?(\S+)", done.output, re.MULTILINE)
    lines = [line for line in done.output.splitlines() if line.strip()]
    name = started[-1] if started else named[0] if named else (lines or ["says nothing"])[-1][:100].replace("|", "/")
    if done.status is None:
        return f"hangs in {name}" if started else "hangs"
    crashes = not named and not re.search(r": Failure$|\bFAILED\b", done.output, re.MULTILINE)
    return f"crashes in {name}" if started and crashes else name


# ---- All of it


def kind_of(test: str) -> str:
    return "python" if test.endswith(".py") else "core"


def chosen(names: list[str]) -> list[Mutation]:
    found = [m for m in MUTATIONS if not names or any(name == m.name or name in m.file for name in names)]
    unknown = [name for name in names if not any(name == m.name or name in m.file for m in MUTATIONS)]
    if unknown:
        raise Wrong(f"there is no mutation of the name, and no file mutated with this in its path: {' '.join(unknown)}")
    return found


def require_applicable() -> None:
    """Of the whole list, so that none of it rots unseen."""
    names = [mutation.name for mutation in MUTATIONS]
    wrong = [f"{name}: there are several of this name" for name in set(names) if names.count(name) > 1]
    for mutation in MUTATIONS:
        count = (TREE / mutation.file).read_text().count(mutation.old)
        if count != 1:
            wrong.append(f"{mutation.name}: its text is {count} times in {mutation.file}, not once")
    if wrong:
        raise Wrong("\n".join(wrong))


def require_passing(builds: Builds, state: State, mutations: Iterable[Mutation], log: TextIO) -> None:
    """Nothing is learnt from tests that fail by themselves."""
    asked = {test: None for mutation in mutations for test in mutation.asks}
    for kind in sorted({kind_of(test) for test in asked}):
        builds.make(kind, log)
        tests = [test for test in asked if kind_of(test) == kind]
        if kind == "core":
            unknown = set(tests) - set(builds.programs())
            if unknown:
                raise Wrong(f"CTest knows no {' '.join(sorted(unknown))}")
            tests = builds.programs()
        for test in tests:
            if test not in state.passed:
                failure, state.passed[test] = builds.ask(test, 1800, log)
                print(f"{test}: {failure or 'passes'} without a mutation, {state.passed[test]:.0f} s", flush=True)
                if failure:
                    raise Wrong(f"fails without a mutation: {failure}")
                state.save()


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation. Neither caught nor built: it says nothing about the tests."""

    mutation: Mutation
    caught_by: str
    seconds: float
    is_built: bool = True

    def is_right(self) -> bool:
        return self.is_built and bool(self.caught_by) != bool(self.mutation.reason)

    def __str__(self) -> str:
        reason = self.mutation.reason
        if not self.is_built:
            return "DOES NOT BUILD"
        if self.caught_by:
            return self.caught_by + (f" (IT HAD A REASON TO SURVIVE: {reason})" if reason else "")
        return f"SURVIVED: {reason}" if reason else "SURVIVED"


def judge(builds: Builds, state: State, mutation: Mutation) -> Outcome:
    # The likeliest first; of C++ the others too, the quickest first, before it is said to survive.
    tests = list(mutation.asks)
    if kind_of(tests[0]) == "core":
        others = [test for test in builds.programs() if test not in tests]
        tests += sorted(others, key=lambda test: state.passed[test])
    start = time.monotonic()
    with (OUT / "logs" / f"{mutation.name}.txt").open("w+") as log, applied(mutation):
        for test in tests:
            try:
                failure, _ = builds.ask(test, 60 + 10 * state.passed[test], log)
            except Wrong:
                return Outcome(mutation, "", time.monotonic() - start, is_built=False)
            if failure:
                return Outcome(mutation, failure, time.monotonic() - start)
    return Outcome(mutation, "", time.monotonic() - start)


def key_of(mutation: Mutation) -> str:
    text = "\0".join([(TREE / mutation.file).read_text(), mutation.old, mutation.new])
    return f"{mutation.name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def report(outcomes: list[Outcome]) -> None:
    lines = [["", "file", "name", "fault", "caught by", "s"], ["---"] * 6]
    for number, outcome in enumerate(outcomes, 1):
        mutation = outcome.mutation
        fields = [mutation.file, mutation.name, mutation.fault, str(outcome), f"{outcome.seconds:.0f}"]
        lines.append([str(number), *fields])
    survivors = [outcome for outcome in outcomes if not outcome.caught_by]
    reasoned = sum(outcome.is_right() for outcome in survivors)
    sums = f"{len(outcomes)} mutations: {len(outcomes) - len(survivors)} caught, {reasoned} survived with a reason, "
    sums += f"{len(survivors) - reasoned} without."
    table = "\n".join(f"| {' | '.join(fields)} |" for fields in lines)
    REPORT.write_text(f"# Mutations\n\n{table}\n\n{sums}\n")
    print(f"\n{table}\n\n{sums}")


def go_through(mutations: list[Mutation]) -> bool:
    """Returns whether all is as it should be."""
    (OUT / "logs").mkdir(parents=True, exist_ok=True)
    tree, state, builds = copy_tree(), State(), Builds()
    require_applicable()
    state.begin(tree)
    todo = [mutation for mutation in mutations if key_of(mutation) not in state.caught]
    with (OUT / "logs/without.txt").open("w+") as log:
        require_passing(builds, state, todo, log)

    outcomes = []
    for mutation in mutations:
        key = key_of(mutation)
        if key in state.caught:
            outcomes.append(Outcome(mutation, *state.caught[key]))
            continue
        outcome = judge(builds, state, mutation)
        outcomes.append(outcome)
        print(f"{mutation.name}: {outcome}, {outcome.seconds:.0f} s", flush=True)
        if outcome.caught_by:
            state.caught[key] = (outcome.caught_by, outcome.seconds)
            state.save()
    report(outcomes)
    return all(outcome.is_right() for outcome in outcomes)


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return 0 if go_through(chosen(sys.argv[1:])) else 1
    except Wrong as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
