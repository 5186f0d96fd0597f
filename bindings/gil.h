// Python's global interpreter lock (GIL), let go of while the library works.
#ifndef LEAKYRELU_BINDINGS_GIL_H_
#define LEAKYRELU_BINDINGS_GIL_H_

#include <Python.h>

#include <chrono>
#include <thread>

namespace leakyrelu {

// Releases the GIL, which the thread must hold, and takes it again at the end of the scope.
//
// A daemon thread whose interpreter has ended meanwhile never comes back: it sleeps until the process is gone. That is
// what Python 3.14 does with it. Before, PyEval_RestoreThread ends the thread (pthread_exit), which glibc does by
// unwinding the thread's stack; the first frame there that is noexcept, such as this destructor, ends the process.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { Retake(state_); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  // Ends an unwinding that reaches it. Not a catch clause: which of them such an unwinding enters, if any, differs
  // between the C++ libraries; all of them run destructors.
  struct Barrier {
    ~Barrier() {
      while (is_up) std::this_thread::sleep_for(std::chrono::hours(1));
    }
    bool is_up = true;
  };

  // A frame of its own, which is not noexcept, between PyEval_RestoreThread and the destructor.
#if defined(__GNUC__)
  __attribute__((noinline))
#endif
  static void Retake(PyThreadState* state) {
    Barrier barrier;
    PyEval_RestoreThread(state);
    barrier.is_up = false;
  }

  PyThreadState* state_;
};

}  // namespace leakyrelu

#endif  // LEAKYRELU_BINDINGS_GIL_H_
