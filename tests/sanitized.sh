#!/usr/bin/env bash
# sanitized.sh: the Python modules under AddressSanitizer and UndefinedBehaviorSanitizer, without CUDA, built into
# build/python-sanitized and tested from there with what .venv has, by all tests that are not about memory and time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=$PWD/build/python-sanitized
flags="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1 -D_GLIBCXX_ASSERTIONS"
flags+=" -DNDEBUG -DHWY_COMPILE_ONLY_STATIC" # kernels for this processor alone, as in ./dev test
if [[ $(uname -m) == x86_64 ]]; then flags+=" -march=native"; fi
.venv/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --upgrade --target "$build/site" \
  --config-settings build-dir="$build/build" --config-settings cmake.build-type=RelWithDebInfo \
  --config-settings "cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO=$flags" --config-settings cmake.define.LEAKYRELU_CUDA=OFF .

tests=(tests/python/test_{array,bad_calls,dlpack,exit}.py)
if [[ -d $(echo .venv/lib/python3*/site-packages/torch) ]]; then
  tests+=(tests/torch/test_{arguments,array_functions,autograd,edge_slopes,edge_table,fused,ops,other_tensors,saved,threads}.py)
  tests+=(tests/torch/test_torch_{bad_calls,exit}.py)
  # Counts what torch's allocator asks for, by a counter of the C library's that is not kept here.
  tests+=(--deselect tests/torch/test_saved.py::test_the_allocator_notices_what_torch_keeps)
fi

# The program, which has no sanitizer, is to load the libraries first of all. Python's own objects are never all freed.
preload=()
for library in libasan.so libubsan.so libstdc++.so; do preload+=("$(c++ -print-file-name=$library)"); done
export LD_PRELOAD ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONPATH=$build/site PYTHONMALLOC=malloc
LD_PRELOAD=$(IFS=: && echo "${preload[*]}")
.venv/bin/python -c "import leakyrelu; assert leakyrelu.__file__.startswith('$build')"
.venv/bin/python -m pytest -n "$(nproc)" --dist loadfile "${tests[@]}"
