// Who runs the tasks of a call: the caller's executor, or the library's own threads.
#ifndef LEAKYRELU_SRC_THREADS_H_
#define LEAKYRELU_SRC_THREADS_H_

#include <cstdint>

#include "leakyrelu/leakyrelu.h"

namespace leakyrelu {

// See leakyrelu_get_num_threads; an executor's own number where there is one.
int32_t NumThreads(const leakyrelu_executor* executor);

// How a call is shared out.
struct Split {
  int64_t threads;    // at most, the caller included
  int64_t tasks;      // at least 1
  bool wakes = true;  // is long enough to wake threads that sleep
};

// `grains`: how often the work is enough for a thread of its own.
Split SplitFor(const leakyrelu_executor* executor, int64_t grains);

// Calls task(work, i) for every i in [0, split.tasks) and returns when all are done. Lets through what the executor
// throws.
void ParallelFor(const leakyrelu_executor* executor, Split split, leakyrelu_task task, void* work);

// See leakyrelu_set_num_threads; num_threads >= 1.
void SetNumThreads(int32_t num_threads);

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_THREADS_H_
