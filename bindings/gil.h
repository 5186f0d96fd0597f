// Python's global interpreter lock (GIL), let go of while the library works.
#ifndef LEAKYRELU_BINDINGS_GIL_H_
#define LEAKYRELU_BINDINGS_GIL_H_

#include <Python.h>

#include <chrono>
#include <thread>

namespace leakyrelu {

// A daemon thread whose interpreter has ended meanwhile never comes back from Python: it sleeps until the process is
// gone. That is what Python 3.14 does with it. Before, Python ends the thread (pthread_exit), which glibc does by
// unwinding the thread's stack; the first frame there that is noexcept, such as a destructor's or one of nanobind's,
// ends the process. So what may take the GIL again happens behind a Barrier.
//
// It ends an unwinding that reaches it. Not a catch clause: which of them such an unwinding enters, if any, differs
// between the C++ libraries; all of them run destructors.
struct Barrier {
  ~Barrier() {
    while (is_up) std::this_thread::sleep_for(std::chrono::hours(1));
  }
  bool is_up = true;
};

// Returns function(), which calls into Python and throws nothing.
template <class Function>
#if defined(__GNUC__)
__attribute__((noinline))  // a frame of its own, which is not noexcept, between Python and a destructor
#endif
auto BehindBarrier(Function function) {
  Barrier barrier;
  const auto result = function();
  barrier.is_up = false;
  return result;
}

// Releases the GIL, which the thread must hold, and takes it again at the end of the scope.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    BehindBarrier([this] {
      PyEval_RestoreThread(state_);
      return true;
    });
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace leakyrelu

#endif  // LEAKYRELU_BINDINGS_GIL_H_
