// What Python loads by ctypes (native.py): copies as the limits, leakyrelu.h, and what it is compared with.
//
// onednn.cc and xnnpack.cc are there only where those libraries are; native.py asks by name.
#ifndef LEAKYRELU_BENCHMARKS_NATIVE_H_
#define LEAKYRELU_BENCHMARKS_NATIVE_H_

#include <cstddef>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"

extern "C" {

// Of everything below, in the whole process; xnnpack_create takes it over.
void native_set_num_threads(int32_t num_threads);

// leakyrelu.h on contiguous memory. mask may be null.
void native_forward(leakyrelu_dtype dtype, const void* x, void* y, uint8_t* mask, std::size_t elements,
                    double negative_slope);
void native_backward(leakyrelu_dtype dtype, const void* dy, const uint8_t* mask, void* dx, std::size_t elements,
                     double negative_slope);

// x and y: disjoint.
void native_memcpy(const void* x, void* y, std::size_t bytes);
void native_stream(const void* x, void* y, std::size_t bytes);  // stores go past the cache

void native_plain_loop(leakyrelu_dtype dtype, const void* x, void* y, std::size_t elements, double negative_slope);

// About so many multiplications of float32 in registers, on all threads, nothing else: the roof over all arithmetic.
void native_multiply(std::size_t multiplications);

// For memory that stays where it is, all of it contiguous. dy null: forward, x to out; else backward, dy to out.
// Null where the library has nothing for this dtype.
void* onednn_create(leakyrelu_dtype dtype, std::size_t elements, const void* x, const void* dy, void* out,
                    float negative_slope);
void onednn_run(void* primitive);
void onednn_destroy(void* primitive);

// float32 alone, forward. Null where the library has nothing for this machine.
void* xnnpack_create(std::size_t elements, const void* x, void* out, float negative_slope);
void xnnpack_run(void* primitive);
void xnnpack_destroy(void* primitive);

}  // extern "C"

#endif  // LEAKYRELU_BENCHMARKS_NATIVE_H_
