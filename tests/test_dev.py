"""What ./dev takes of a machine, seen on imitations: pip, venv and nvidia-smi are scripts, the rest is real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
(PIN,) = [line for line in (ROOT / "requirements/torch.txt").read_text().splitlines() if line.startswith("torch==")]
VERSION = PIN.removeprefix("torch==")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

PIP = """#!/bin/sh
echo "$*" >>pip.log
case "$*" in
  "index versions torch") echo "torch (9.9)"; echo "Available versions: 9.9, $AT_HAND, 0.1" ;;
  "index versions torch --index-url"*) echo "torch (9.9)"; echo "Available versions: 9.9, $AT_PYTORCH" ;;
  install*torch==*) torch=.venv/lib/python3.1/site-packages/torch; mkdir -p $torch && touch $torch/version.py ;;
esac
"""
PYTHON = """#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec "$REAL_PYTHON" "$@"; fi
mkdir -p .venv/bin && cp bin/pip .venv/bin
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Machine:
    """A folder with what is in this one but its builds, and imitations in front of the real programs."""

    def __init__(self, folder: Path, at_hand: str, at_pytorch: str, has_card: bool) -> None:
        self.folder = folder
        for path in ROOT.iterdir():
            if path.name not in ("build", "out", ".git", ".venv"):
                (folder / path.name).symlink_to(path)
        (folder / "bin").mkdir()
        script(folder / "bin/nvidia-smi", f"#!/bin/sh\nexit {0 if has_card else 9}\n")
        script(folder / "bin/python3", PYTHON)
        script(folder / "bin/pip", PIP)
        self.environment = os.environ | {
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "REAL_PYTHON": sys.executable,
            "AT_HAND": at_hand,
            "AT_PYTORCH": at_pytorch,
        }
        self.environment.pop("PYTHON", None)

    def set_up(self, *options: str) -> tuple[list[str], str]:
        """Returns what pip was called with that has to do with torch, and what was said of it."""
        log = self.folder / "pip.log"
        log.write_text("")
        result = subprocess.run(
            [self.folder / "dev", "setup", *options], env=self.environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        said = [line for line in result.stderr.splitlines() if line.startswith("dev:")]
        assert len(said) <= 1
        return [line for line in log.read_text().splitlines() if "torch" in line], "".join(said)


@pytest.mark.parametrize(
    ("at_hand", "at_pytorch", "has_card", "options", "installed"),
    [
        (f"{VERSION}+cpu, {VERSION}", f"{VERSION}+cpu", False, [], f"{PIN}+cpu "),
        (VERSION, f"{VERSION}+cpu", False, [], f"{PIN}+cpu --extra-index-url {CPU_INDEX} "),
        (VERSION, f"{VERSION}+cpu", False, ["--with-torch"], f"{PIN}+cpu --extra-index-url {CPU_INDEX} "),
        (VERSION, f"{VERSION}.1+cpu", False, [], None),
        (VERSION, "", False, ["--with-torch"], f"{PIN} "),
        (VERSION, f"{VERSION}+cpu", True, [], f"{PIN} "),
    ],
    ids=["at hand", "at PyTorch", "at PyTorch, asked for", "nowhere", "nowhere, asked for", "with a card"],
)
def test_which_torch(
    tmp_path: Path, at_hand: str, at_pytorch: str, has_card: bool, options: list[str], installed: str | None
) -> None:
    machine = Machine(tmp_path, at_hand, at_pytorch, has_card)
    calls, said = machine.set_up(*options)
    installs = [call for call in calls if call.startswith("install")]
    if installed is None:
        assert installs == []
        assert "--with-torch" in said
    else:
        (call,) = installs
        assert f" {installed}" in call
        assert said == ""
    assert machine.set_up() == ([], said), "what has been looked for once is not looked for again"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyPI has a CPU build")
def test_torch_can_be_had_later(tmp_path: Path) -> None:
    machine = Machine(tmp_path, VERSION, "", has_card=False)
    assert machine.set_up()[1]
    calls, said = machine.set_up("--with-torch")
    assert f" {PIN} " in calls[-1]
    assert said == ""
    assert machine.set_up() == ([], "")


def failure(environment: dict[str, str]) -> str:
    result = subprocess.run([ROOT / "dev", "setup"], env=os.environ | environment, capture_output=True, text=True)
    assert result.returncode == 1
    return result.stderr


def test_an_unsupported_python_is_refused(tmp_path: Path) -> None:
    text = '#!/bin/sh\ncase "$*" in *version_info*) exit 1 ;; --version) echo Python 3.9.18 ;; esac\n'
    script(tmp_path / "python", text)
    said = failure({"PYTHON": str(tmp_path / "python")})
    assert said.startswith("dev: Python 3.9.18 is not supported, Python 3.10 to 3.14 is;")


def test_without_apt_what_is_missing_is_listed(tmp_path: Path) -> None:
    """PATH has all programs but apt-get and ninja, and an old CMake."""
    for folder in reversed(os.environ["PATH"].split(":")):
        for program in Path(folder).glob("*"):
            link = tmp_path / program.name
            link.unlink(missing_ok=True)
            link.symlink_to(program)
    for name in ("apt-get", "ninja", "cmake"):
        (tmp_path / name).unlink(missing_ok=True)
    script(tmp_path / "cmake", "#!/bin/sh\necho cmake version 3.9.1\n")
    assert failure({"PATH": str(tmp_path)}).splitlines() == [
        "dev: this is missing:",
        "  CMake 3.25 or newer (in Debian cmake, in Fedora cmake, in Homebrew cmake)",
        "  Ninja (in Debian ninja-build, in Fedora ninja-build, in Homebrew ninja)",
    ]


def test_a_failed_step_ends_all_or_is_named_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    functions, end, _ = (ROOT / "dev").read_text().partition("\narguments=()\n")
    assert end
    steps = 'fails() { false; echo behind; }\nstep First fails\nstep Second echo done\necho "failed: ${failed[*]}"\n'
    said = {}
    for goes_on in ("", "yes"):
        script(tmp_path / "dev", f"{functions}\ngoes_on={goes_on}\n{steps}")
        result = subprocess.run([tmp_path / "dev"], capture_output=True, text=True)
        said[goes_on] = result.returncode, [line for line in result.stdout.splitlines() if line and line[0] != "="]
    assert said == {"": (1, []), "yes": (0, ["done", "failed: First"])}
