"""torch_headers.py FOLDER VERSION...: fetches the headers of these torches from PyPI into FOLDER/VERSION/torch.

A module for a torch is built from its headers alone, which are 8 of the 500 MiB of a wheel, so only these are read, by
ranges. CMake's LEAKYRELU_TORCH_DIRS is then FOLDER/*/torch.
"""

import io
import json
import platform
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

INDEX = "https://pypi.org/simple/torch/"
BLOCK = 4 << 20  # the headers lie together, so a few large reads get them all


class Remote(io.RawIOBase):
    """A file on a server."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._position = url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={self._position}-{end - 1}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.status != 206:
                raise OSError(f"{self._url}: the server gives no parts of files")
            data = answer.read()
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def wheel_of(version: str) -> tuple[str, int]:
    """Where the wheel for this kind of machine is, and its size. Headers are the same for each Python."""
    request = urllib.request.Request(INDEX, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    machine = platform.machine().lower()
    systems = {"Linux": "manylinux", "Darwin": "macosx", "Windows": "win"}
    for file in files:
        name = file["filename"]
        if name.startswith(f"torch-{version}-") and f"-{systems[platform.system()]}" in name and machine in name:
            return file["url"], file["size"]
    raise SystemExit(f"torch_headers: PyPI has no torch {version} for {platform.system()} on {machine}")


def fetch(version: str, target: Path) -> None:
    scratch = target.with_name(f"{target.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    with zipfile.ZipFile(io.BufferedReader(Remote(*wheel_of(version)), BLOCK)) as wheel:
        members = [i for i in wheel.infolist() if i.filename.startswith(("torch/include/", "torch/version.py"))]
        for member in sorted(members, key=lambda member: member.header_offset):
            wheel.extract(member, scratch)
    scratch.rename(target)


def main(folder: Path, versions: list[str]) -> None:
    for version in versions:
        target = folder / version
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            fetch(version, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
