"""Fuzzes in Python, led by the coverage of the target and of what reads: in_python.py TARGET [what libFuzzer takes]."""

import importlib
import sys
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).parents[1] / "shared"))
name = sys.argv[1]
sys.argv[:2] = [f"{sys.executable} {__file__} {name}"]  # what libFuzzer starts again for -merge=1
with atheris.instrument_imports(include=[name, "leakyrelu", "numpy.lib"]):
    target = importlib.import_module(name).target
atheris.Setup(sys.argv, target)
atheris.Fuzz()
