// The formula as a plain loop, to measure against.
#ifndef LEAKYRELU_BENCHMARKS_PLAIN_LOOP_H_
#define LEAKYRELU_BENCHMARKS_PLAIN_LOOP_H_

#include <cstddef>

#include "leakyrelu/leakyrelu.h"

void PlainLoop(leakyrelu_dtype dtype, const void* x, void* y, std::size_t elements, double negative_slope);

#endif  // LEAKYRELU_BENCHMARKS_PLAIN_LOOP_H_
