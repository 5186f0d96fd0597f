// What kernels_test.cc tests; each program that it is linked into says so for itself.
#ifndef LEAKYRELU_TESTS_CORE_KERNELS_TO_TEST_H_
#define LEAKYRELU_TESTS_CORE_KERNELS_TO_TEST_H_

#include <vector>

#include "kernels.h"

std::vector<const leakyrelu::Kernels*> KernelsToTest();

#endif  // LEAKYRELU_TESTS_CORE_KERNELS_TO_TEST_H_
