"""What `./dev bench` runs: everything measured in one process, side beside side.

__main__.py    the command
cases.py       what is measured
data.py        the operands of a case and what must come out
peers.py       the sides in Python: ours, torch, NumPy, numba, JAX, onnxruntime
native.py      the sides in C++, from native.cc, onednn.cc, xnnpack.cc and plain_loop.cc
measure.py     interleaved timing
exactness.py   which sides give the oracle's bits, and where not
small.py       calls on small NumPy arrays
kernels.py     the kernels alone, by Google Benchmark (kernels_bench.cc)
training.py    training steps of whole models, and what the memory cache leaves
machine.py     what all this ran on
targets.py     the figures that are wanted
report.py      tables; plots.py draws
"""
