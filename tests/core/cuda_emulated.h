// A CUDA device on the CPU: kernels as functions that do the work of one thread.
#ifndef LEAKYRELU_TESTS_CORE_CUDA_EMULATED_H_
#define LEAKYRELU_TESTS_CORE_CUDA_EMULATED_H_

#include <cstdint>
#include <functional>

#include "cuda/launch.h"

namespace cuda_emulated {

struct Kernel {
  std::function<void(uint32_t block, uint32_t blocks, uint32_t thread)> thread;
  uint32_t blocks;         // that would be launched
  int64_t block_elements;  // that a block does before it goes on to others
};

Kernel MakeKernel(const leakyrelu::cuda::KernelCall& call, const leakyrelu::Plan& plan);

// Calls one thread after the other, in an order and with a number of blocks that change with every call.
void Run(const Kernel& kernel);

}  // namespace cuda_emulated

#endif  // LEAKYRELU_TESTS_CORE_CUDA_EMULATED_H_
