// The only loop over memory: a plan's runs, cut into chunks for the kernels and into tasks for the threads.
#ifndef LEAKYRELU_SRC_DRIVER_H_
#define LEAKYRELU_SRC_DRIVER_H_

#include <cstddef>
#include <cstdint>

#include "kernels.h"
#include "leakyrelu/leakyrelu.h"
#include "plan.h"

namespace leakyrelu {

// What a fused call adds.
struct FusedJob {
  FusedKernel kernel;
  FusedNumbers numbers;
  const std::byte* bias;  // element 0; null: none
  uint8_t* within;        // null: none. Else a mask of its own
};

struct Job {
  Kernel kernel;  // unused in a fused job, like the next one
  Kernel streaming_kernel;
  const std::byte* in;  // element (0, 0, ...)
  std::byte* out;       // likewise; null: the mask alone
  uint8_t* mask;        // null: none. Else the plan must be in C order
  size_t itemsize;
  double slope;
  const FusedJob* fused = nullptr;
};

// Runs the kernel over all elements of the plan. Lets through what the executor throws.
void Run(const Job& job, const Plan& plan, const leakyrelu_executor* executor);

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_DRIVER_H_
