// The kernels that this machine can run, of every instruction set.

#include "kernels.h"
#include "kernels_to_test.h"

std::vector<const leakyrelu::Kernels*> KernelsToTest() {
  const auto supported = leakyrelu::SupportedKernels();
  return {supported.begin(), supported.end()};
}
