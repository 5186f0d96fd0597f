// What Python loads by ctypes (native.py): copies as the limits, leakyrelu.h, and what it is compared with.
//
// onednn.cc and xnnpack.cc are there only where those libraries are; native.py asks by name.
#ifndef LEAKYRELU_BENCHMARKS_NATIVE_H_
#define LEAKYRELU_BENCHMARKS_NATIVE_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "leakyrelu/leakyrelu.h"

// One call with its arguments, so that Python passes one pointer whatever is called: each argument takes ctypes some
// 40 ns, which is no side's work.
class Call {
 public:
  virtual ~Call() = default;
  virtual void Run() = 0;
};

template <class Function>
Call* MakeCall(Function function) {
  class Prepared : public Call {
   public:
    explicit Prepared(Function f) : function_(std::move(f)) {}
    void Run() override { function_(); }

   private:
    Function function_;
  };
  return new Prepared(std::move(function));
}

extern "C" {

// Of everything below, in the whole process; xnnpack takes it over when it is called.
void native_set_num_threads(int32_t num_threads);

void native_run(Call* call);
void native_destroy(Call* call);

// All that follows is of contiguous memory that stays where it is.

// leakyrelu.h. mask may be null.
Call* native_forward(leakyrelu_dtype dtype, const void* x, void* y, uint8_t* mask, std::size_t elements,
                     double negative_slope);
Call* native_backward(leakyrelu_dtype dtype, const void* dy, const uint8_t* mask, void* dx, std::size_t elements,
                      double negative_slope);

// x and y: disjoint.
Call* native_memcpy(const void* x, void* y, std::size_t bytes);
Call* native_stream(const void* x, void* y, std::size_t bytes);  // stores go past the cache

Call* native_plain_loop(leakyrelu_dtype dtype, const void* x, void* y, std::size_t elements, double negative_slope);

// dy null: forward, x to out; else backward, dy to out. Null where the library has nothing for this dtype.
Call* onednn(leakyrelu_dtype dtype, std::size_t elements, const void* x, const void* dy, void* out,
             float negative_slope);

// float32 alone, forward. Null where the library has nothing for this machine.
Call* xnnpack(std::size_t elements, const void* x, void* out, float negative_slope);

// About so many multiplications of float32 in registers, on all threads, nothing else: the roof over all arithmetic.
void native_multiply(std::size_t multiplications);

}  // extern "C"

#endif  // LEAKYRELU_BENCHMARKS_NATIVE_H_
