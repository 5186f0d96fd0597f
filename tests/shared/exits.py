"""Programs that end while daemon threads are inside the library's functions."""

import subprocess
import sys

# Each thread calls one of the functions again and again. Before the program ends, each has come back from it once. The
# last line gives the threads a moment that differs between rounds.
_PROGRAM = """
import sys, threading, time
{setup}
def call_for_ever(call, has_called):
    for _ in range({limit}):
        call()
        has_called.set()
    time.sleep(1000)

sys.setswitchinterval(1e-6)
events = []
for call in [{calls}]:
    events.append(threading.Event())
    threading.Thread(target=call_for_ever, args=(call, events[-1]), daemon=True).start()
for event in events:
    event.wait()
time.sleep({seconds})
"""


def failed_exits(setup: str, calls: list[str], rounds: int = 12, limit: int = 1 << 40) -> list[tuple[int, str]]:
    """Exit status and stderr of those of `rounds` programs that did not end as they should: silently, with 0.

    Args:
        setup: Python code at the top of the program.
        calls: expressions, each the body of a lambda that one thread calls again and again.
        limit: as many times at most.
    """
    failures = []
    lambdas = ", ".join(f"lambda: {call}" for call in calls)
    for i in range(rounds):
        program = _PROGRAM.format(setup=setup, calls=lambdas, seconds=i * 1e-3, limit=limit)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
        if done.returncode != 0 or done.stderr:
            failures.append((done.returncode, done.stderr[-2000:]))
    return failures
