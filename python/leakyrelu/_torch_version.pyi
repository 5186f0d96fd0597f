"""Types of a module that the build writes, see bindings/torch/CMakeLists.txt."""

TORCH_VERSION: str
