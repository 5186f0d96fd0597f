/* cuda.h - LeakyReLU on arrays in the memory of a CUDA device (C11 and C++): leakyrelu.h on a stream. Same formula,
 * same results bit for bit, same masks.
 *
 * These functions enqueue one kernel on the stream and return. They allocate nothing and wait for nothing, so they can
 * be captured in a CUDA graph. Link leakyrelu::cuda.
 */
#ifndef LEAKYRELU_CUDA_H_
#define LEAKYRELU_CUDA_H_

#include <leakyrelu/leakyrelu.h>

/* As CUDA's own headers say it; they are not needed to call these functions. */
typedef struct CUstream_st* cudaStream_t;

#ifdef __cplusplus
extern "C" {
#endif

/* As leakyrelu_forward, with these differences:
 *
 * x, y, mask      data and mask are memory that the stream's device can use and that lives until the kernel is done.
 *                 Array structs, shapes and strides are read before the function returns, on the host. data must be a
 *                 multiple of the element's size (LEAKYRELU_ERROR_MISALIGNED).
 * stream          a stream of the calling thread's current device; NULL is its default stream.
 *
 * LEAKYRELU_ERROR_CUDA: nothing was enqueued, and leakyrelu_cuda_error_message says why. What goes wrong later, while
 * the kernel runs, CUDA reports to whoever waits for the stream. */
LEAKYRELU_API leakyrelu_status leakyrelu_cuda_forward(const leakyrelu_array* x, const leakyrelu_array* y,
                                                      double negative_slope, uint8_t* mask, size_t mask_bytes,
                                                      cudaStream_t stream);

/* As leakyrelu_backward, with the differences above. */
LEAKYRELU_API leakyrelu_status leakyrelu_cuda_backward(const leakyrelu_array* dy, const uint8_t* mask,
                                                       size_t mask_bytes, const leakyrelu_array* dx,
                                                       double negative_slope, cudaStream_t stream);

/* As leakyrelu_fused_forward, with the differences above, of `within` and the bias's data too. */
LEAKYRELU_API leakyrelu_status leakyrelu_cuda_fused_forward(const leakyrelu_array* x, const leakyrelu_array* y,
                                                            const leakyrelu_fused* fused, double negative_slope,
                                                            uint8_t* mask, uint8_t* within, size_t mask_bytes,
                                                            cudaStream_t stream);

/* As leakyrelu_fused_backward, with the differences above. */
LEAKYRELU_API leakyrelu_status leakyrelu_cuda_fused_backward(const leakyrelu_array* dy, const uint8_t* mask,
                                                             const uint8_t* within, size_t mask_bytes,
                                                             const leakyrelu_array* dx, const leakyrelu_fused* fused,
                                                             double negative_slope, cudaStream_t stream);

/* What CUDA said when the calling thread last got LEAKYRELU_ERROR_CUDA; never NULL. The text lives as long as the
 * program. */
LEAKYRELU_API const char* leakyrelu_cuda_error_message(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* LEAKYRELU_CUDA_H_ */
