"""What `./dev bench` runs: everything measured in one process, side beside side.

__main__.py    the command
cases.py       what is measured
data.py        the operands of a case and what must come out
peers.py       the sides in Python: ours, torch, NumPy, onnxruntime
native.py      the sides in C++, from native.cc
measure.py     interleaved timing
small.py       calls on small NumPy arrays
busy.py        calls on a machine that others use too
training.py    training steps of whole models
machine.py     what all this ran on
targets.py     the figures that are wanted
report.py      tables; plots.py draws
cuda.py        a command of its own, `./dev gpu-check`: on a CUDA device
"""
