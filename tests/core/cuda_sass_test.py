"""Reads the machine code of the CUDA library, whose path is the argument: what each kernel must and must not have.

Ends with 77, which CTest knows as skipped, where there is no cuobjdump and nvdisasm to read it with. Both are packages
of pip too, see requirements/test.txt.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DTYPES = {"1": "float16", "2": "bfloat16", "3": "float32", "4": "float64"}
OPERATIONS = {
    **{f"ModeE{i}": mode for i, mode in enumerate(("forward", "forward with mask", "mask alone", "backward"))},
    "FusedI": "fused",
}
INDICES = {"j": "32 bits", "m": "64 bits"}


def find_tools() -> str | None:
    """A PATH with both tools in it: as it is, with nvcc's folder, with what pip installed into .venv."""
    folders = [*ROOT.glob(".venv/lib/python*/site-packages/nvidia/cu*/bin")]
    if nvcc := shutil.which("nvcc"):
        folders.append(Path(nvcc).parent)
    path = os.pathsep.join([os.environ["PATH"], "/usr/local/cuda/bin", *map(str, folders)])
    return path if all(shutil.which(tool, path=path) for tool in ("cuobjdump", "nvdisasm")) else None


def read_kernels(library: str, path: str) -> dict[tuple[str, ...], list[str]]:
    """The instructions of each kernel, by card, kind, dtype, operation and index."""
    command = [shutil.which("cuobjdump", path=path) or "cuobjdump", "-sass", library]
    sass = subprocess.run(command, env=os.environ | {"PATH": path}, check=True, capture_output=True, text=True).stdout
    kernels: dict[tuple[str, ...], list[str]] = {}
    card, instructions = "", []
    for line in sass.splitlines():
        if match := re.match(r"arch = (sm_\d+)", line):
            card = match[1]
        elif match := re.match(r"\s+Function : (\w+)", line):
            parts = re.search(r"(Contiguous|Strided)I\w+?leakyrelu_dtype(\d)E\w*?E([jm])E", match[1])
            operation = re.search("|".join(OPERATIONS), match[1])
            assert parts is not None and operation is not None, line
            kind, dtype, index = parts.groups()
            key = (card, kind, DTYPES[dtype], OPERATIONS[operation[0]], INDICES[index])
            assert key not in kernels, line
            instructions = kernels[key] = []
        elif match := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][\w.]*)", line):
            instructions.append(match[1])
    return kernels


def loads_together(instructions: list[str]) -> int:
    """The most 128-bit loads in a row without a branch, a store or arithmetic on what was loaded."""
    most = count = 0
    for instruction in instructions:
        if re.match(r"LDG\b.*\.128", instruction):
            count += 1
            most = max(most, count)
        elif re.match(r"(BRA|BSYNC|STG|FSETP|FADD|FMUL|HADD2|F2FP|DSETP|DADD|DMUL)\b", instruction):
            count = 0
    return most


def complaints(kernel: tuple[str, ...], instructions: list[str]) -> list[str]:
    """What is wrong with a kernel."""
    _, kind, dtype, operation, _ = kernel

    def some(pattern: str) -> list[str]:
        return sorted({instruction for instruction in instructions if re.match(pattern, instruction)})

    found = []
    if not some(r"LDG\b.*\.128"):
        found.append("no 128-bit loads")
    if operation != "mask alone" and not some(r"STG\b.*\.128"):
        found.append("no 128-bit stores")
    forbidden = {
        "local memory": r"(LDL|STL)\b",
        "fused multiplications": r"(FFMA|DFMA)\b",
        "flushing of subnormals": r".*\.FTZ",
    }
    if operation != "fused":
        forbidden["additions"] = r"(FADD|DADD)\b"
    if dtype != "float64":
        forbidden["double arithmetic"] = r"(DADD|DMUL|DSETP)\b|.*\bF64\b"
    for what, pattern in forbidden.items():
        if seen := some(pattern):
            found.append(f"{what}: {', '.join(seen)}")
    if kind == "Contiguous" and loads_together(instructions) < 4:
        found.append("fewer than four vectors on their way before the first is used")
    return found


def main() -> int:
    path = find_tools()
    if path is None:
        print("skipped: no cuobjdump and nvdisasm here (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm)")
        return 77
    kernels = read_kernels(sys.argv[1], path)
    wrong = [
        f"{', '.join(kernel)}: {complaint}"
        for kernel, instructions in sorted(kernels.items())
        for complaint in complaints(kernel, instructions)
    ]
    cards = sorted({kernel[0] for kernel in kernels})
    each = len(DTYPES) * (
        2 * len(OPERATIONS) * len(INDICES) - 1
    )  # of the fused operation none is contiguous and 64 bits
    if not cards or len(kernels) != len(cards) * each:
        wrong.append(f"there are {len(kernels)} kernels")
    print("\n".join(wrong) or f"{len(kernels)} kernels for {', '.join(cards)}, all as they must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
