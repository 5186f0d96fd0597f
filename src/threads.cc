// The library's own threads: OpenMP, made safe after fork().

#include "threads.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

namespace leakyrelu {
namespace {

// libgomp ends the process when the system refuses it a thread, so a wish for a million is not passed on.
constexpr int32_t kMaxThreadsPerCore = 8;

std::atomic<int32_t> chosen_num_threads{0};  // 0: not chosen, OpenMP's default counts

// A child of fork() inherits libgomp's records of a thread pool but not the threads, and would wait for them for ever.
// libgomp keeps those records for each thread that starts a parallel region, so in a child a fresh thread starts it.
std::atomic<bool> is_forked_child{false};

[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { is_forked_child.store(true, std::memory_order_relaxed); });

void Region(int64_t tasks, leakyrelu_task task, void* work) {
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(tasks))
  for (int64_t i = 0; i < tasks; ++i) task(work, i);
}

}  // namespace

int32_t NumThreads(const leakyrelu_executor* executor) {
  if (executor != nullptr) return executor->num_threads;
  const int32_t chosen = chosen_num_threads.load(std::memory_order_relaxed);
  return chosen > 0 ? chosen : std::max(1, omp_get_max_threads());
}

int64_t MaxTasks(const leakyrelu_executor* executor) {
  const int64_t num_threads = NumThreads(executor);
  // Asking for the number of cores takes 0.5 us.
  if (executor != nullptr || num_threads <= kMaxThreadsPerCore) return num_threads;
  return std::min<int64_t>(num_threads, int64_t{kMaxThreadsPerCore} * omp_get_num_procs());
}

void SetNumThreads(int32_t num_threads) { chosen_num_threads.store(num_threads, std::memory_order_relaxed); }

void ParallelFor(const leakyrelu_executor* executor, int64_t tasks, leakyrelu_task task, void* work) {
  if (tasks == 1) {
    task(work, 0);
  } else if (executor != nullptr) {
    executor->parallel_for(executor->context, tasks, task, work);
  } else if (!is_forked_child.load(std::memory_order_relaxed)) {
    Region(tasks, task, work);
  } else {
    std::thread starter;
    try {
      starter = std::thread(Region, tasks, task, work);
    } catch (const std::system_error&) {  // no thread to be had: the caller's own does it all
      for (int64_t i = 0; i < tasks; ++i) task(work, i);
      return;
    }
    starter.join();
  }
}

}  // namespace leakyrelu
