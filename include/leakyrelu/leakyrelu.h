/* leakyrelu.h - LeakyReLU, forward and backward, on arrays of any shape and strides (C11 and C++).
 *
 *   forward:   y  = x > 0 ? x  : x  * negative_slope    and, if asked for, one bit per element: x > 0
 *   backward:  dx = x > 0 ? dy : dy * negative_slope    from that bit alone
 *
 * Definition: https://pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html; where its text and PyTorch's
 * implementation differ, this library follows the implementation: zero and NaN take the slope's side.
 * float32: the slope is rounded to float32. float16, bfloat16: widened to float32, multiplied by the slope as float32,
 * rounded to nearest even. NaN stays NaN; which NaN is not promised.
 *
 * No function here throws, aborts or prints. All may be called from several threads at once.
 */
#ifndef LEAKYRELU_LEAKYRELU_H_
#define LEAKYRELU_LEAKYRELU_H_

#include <stddef.h>
#include <stdint.h>

/* Of this header; CMakeLists.txt and pyproject.toml read it here. leakyrelu_version() is that of the library. */
#define LEAKYRELU_VERSION_MAJOR 0
#define LEAKYRELU_VERSION_MINOR 1
#define LEAKYRELU_VERSION_PATCH 0

/* Of what the shared library exports. LEAKYRELU_EXPORTS: it is being built; LEAKYRELU_SHARED: a program uses it. On
 * Windows this makes calls direct; CMake's leakyrelu::leakyrelu sets both. */
#if !defined(_WIN32)
#define LEAKYRELU_API __attribute__((visibility("default")))
#elif defined(LEAKYRELU_EXPORTS)
#define LEAKYRELU_API __declspec(dllexport)
#elif defined(LEAKYRELU_SHARED)
#define LEAKYRELU_API __declspec(dllimport)
#else
#define LEAKYRELU_API
#endif

#ifdef __cplusplus
#define LEAKYRELU_ENUM(name) enum name : int32_t
extern "C" {
#else
#define LEAKYRELU_ENUM(name) enum name
#endif

/* No dtype is 0, so an array struct that was only zeroed is an error and not a float16 array. */
typedef LEAKYRELU_ENUM(leakyrelu_dtype){
    LEAKYRELU_FLOAT16 = 1,
    LEAKYRELU_BFLOAT16 = 2,
    LEAKYRELU_FLOAT32 = 3,
    LEAKYRELU_FLOAT64 = 4,
} leakyrelu_dtype;

/* Each status other than LEAKYRELU_OK was found before anything was written, except LEAKYRELU_ERROR_EXECUTOR_FAILED. */
typedef LEAKYRELU_ENUM(leakyrelu_status){
    LEAKYRELU_OK = 0,
    LEAKYRELU_ERROR_NULL_INPUT = 1,
    LEAKYRELU_ERROR_NULL_OUTPUT = 2,
    LEAKYRELU_ERROR_NULL_MASK = 3,
    LEAKYRELU_ERROR_NULL_SHAPE = 4,
    LEAKYRELU_ERROR_NULL_DATA = 5,
    LEAKYRELU_ERROR_DTYPE = 6,
    LEAKYRELU_ERROR_DTYPE_MISMATCH = 7,
    LEAKYRELU_ERROR_NDIM = 8,
    LEAKYRELU_ERROR_SHAPE = 9,
    LEAKYRELU_ERROR_SHAPE_MISMATCH = 10,
    LEAKYRELU_ERROR_TOO_LARGE = 11,
    LEAKYRELU_ERROR_SLOPE_OVERFLOW = 12,
    LEAKYRELU_ERROR_OVERLAP = 13,
    LEAKYRELU_ERROR_OUTPUT_REPEATS = 14,
    LEAKYRELU_ERROR_MASK_OVERLAP = 15,
    LEAKYRELU_ERROR_NUM_THREADS = 16,
    LEAKYRELU_ERROR_EXECUTOR = 17,
    LEAKYRELU_ERROR_EXECUTOR_FAILED = 18,
    LEAKYRELU_ERROR_MISALIGNED = 19, /* this one and the next: cuda.h */
    LEAKYRELU_ERROR_CUDA = 20,
    LEAKYRELU_ERROR_MASK_BYTES = 21,
    LEAKYRELU_ERROR_NULL_FUSED = 22, /* this one and those below: the fused functions */
    LEAKYRELU_ERROR_SCALE_OVERFLOW = 23,
    LEAKYRELU_ERROR_CLAMP = 24,
    LEAKYRELU_ERROR_WITHIN = 25,
    LEAKYRELU_ERROR_DIM = 26,
    LEAKYRELU_ERROR_BIAS_DTYPE = 27,
    LEAKYRELU_ERROR_BIAS_SHAPE = 28,
    LEAKYRELU_ERROR_BIAS_OVERLAP = 29,
} leakyrelu_status;

/* A view of memory that the caller owns. Element (i0, i1, ...) lies at data + (i0 * strides[0] + i1 * strides[1] + ...)
 * elements; a stride may be negative, and zero in an array that is only read. strides == NULL means C order (last index
 * fastest). shape may be NULL when ndim is 0 (one element), data when there is no element. */
typedef struct leakyrelu_array {
  void* data;
  leakyrelu_dtype dtype;
  int32_t ndim;
  const int64_t* shape;
  const int64_t* strides;
} leakyrelu_array;

/* Calls task(work, i) for some i. */
typedef void (*leakyrelu_task)(void* work, int64_t i);

/* Whose threads do the work. parallel_for must call task(work, i) exactly once for every i in [0, tasks), in any order
 * and on any threads, and return when all calls have returned. A call is split into at most num_threads (>= 1) tasks;
 * one task alone runs on the caller's thread without parallel_for. */
typedef struct leakyrelu_executor {
  void* context;
  void (*parallel_for)(void* context, int64_t tasks, leakyrelu_task task, void* work);
  int32_t num_threads;
} leakyrelu_executor;

/* The library's own threads as an executor's parallel_for: with {NULL, leakyrelu_own_threads, n} a call has at most n
 * of them, whatever leakyrelu_set_num_threads says. */
LEAKYRELU_API void leakyrelu_own_threads(void* context, int64_t tasks, leakyrelu_task task, void* work);

/* y = x > 0 ? x : x * negative_slope, and bit i % 8 (least significant first) of mask byte i / 8 = x_i > 0, with i
 * counting elements in C order of x's shape, whatever the strides.
 *
 * x, y            same dtype and shape. y may hold exactly the same elements as x (in place) or none of them.
 * y == NULL       fills the mask alone. mask == NULL keeps none. Not both.
 * mask            mask_bytes bytes, all of them written; unused high bits become 0.
 * mask_bytes      leakyrelu_mask_bytes(elements); 0 where mask is NULL. Anything else is LEAKYRELU_ERROR_MASK_BYTES.
 * negative_slope  any value; for 16- and 32-bit dtypes a finite one must not exceed the largest float32.
 * executor        NULL: the library's own threads (see leakyrelu_set_num_threads). */
LEAKYRELU_API leakyrelu_status leakyrelu_forward(const leakyrelu_array* x, const leakyrelu_array* y,
                                                 double negative_slope, uint8_t* mask, size_t mask_bytes,
                                                 const leakyrelu_executor* executor);

/* dx = x > 0 ? dy : dy * negative_slope, with x > 0 read from the mask that leakyrelu_forward wrote, of mask_bytes
 * bytes as there; only where there is no element may it be NULL. dx may hold exactly the same elements as dy. Linear in
 * dy, so this is its own derivative: call it again for gradients of any order. */
LEAKYRELU_API leakyrelu_status leakyrelu_backward(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes,
                                                  const leakyrelu_array* dx, double negative_slope,
                                                  const leakyrelu_executor* executor);

/* What the fused functions do beside LeakyReLU: a bias before it, a scale and a clamp after it. */
typedef struct leakyrelu_fused {
  const leakyrelu_array* bias; /* one dim, x's dtype, as long as x's dim `dim`, any stride; NULL: none */
  int32_t dim;                 /* along which the bias runs, from 0 on; ignored without a bias */
  double scale;                /* any value, in the bounds of negative_slope; 1: none */
  double clamp;                /* 0 or more, in the same bounds; INFINITY: none */
} leakyrelu_fused;

/* t = x + bias;  v = (t > 0 ? t : t * negative_slope) * scale;  y = v, limited to -clamp ... clamp; NaN stays NaN.
 * Each step is rounded; float16 and bfloat16 are widened to float32, computed there and rounded once, at the end.
 *
 * mask            as of leakyrelu_forward, but its bits are t > 0.
 * within          a second mask, of as many bytes: -clamp <= v <= clamp (false for NaN). Needed with a clamp and a
 *                 mask, else NULL; anything else is LEAKYRELU_ERROR_WITHIN.
 * x, y            y may hold the same elements as x, but none of the bias. Neither may be NULL. */
LEAKYRELU_API leakyrelu_status leakyrelu_fused_forward(const leakyrelu_array* x, const leakyrelu_array* y,
                                                       const leakyrelu_fused* fused, double negative_slope,
                                                       uint8_t* mask, uint8_t* within, size_t mask_bytes,
                                                       const leakyrelu_executor* executor);

/* h = (within ? dy : 0) * scale;  dx = t > 0 ? h : h * negative_slope, rounded as above, with both masks from
 * leakyrelu_fused_forward. The bias of `fused` is ignored: its gradient is the sum of dx over all dims but its
 * own. dx may hold the same elements as dy. Linear in dy, so this is its own derivative. */
LEAKYRELU_API leakyrelu_status leakyrelu_fused_backward(const leakyrelu_array* dy, const uint8_t* mask,
                                                        const uint8_t* within, size_t mask_bytes,
                                                        const leakyrelu_array* dx, const leakyrelu_fused* fused,
                                                        double negative_slope, const leakyrelu_executor* executor);

/* ceil(elements / 8): the bytes of a mask. 0 for a negative count. */
LEAKYRELU_API size_t leakyrelu_mask_bytes(int64_t elements);

/* What was wrong and what would be right, in English; never NULL. The text lives as long as the program. */
LEAKYRELU_API const char* leakyrelu_status_message(leakyrelu_status status);

/* The version of the library, as "0.1.0". */
LEAKYRELU_API const char* leakyrelu_version(void);

/* The most threads that a call without an executor uses: what was set, else the machine's (or OMP_NUM_THREADS). */
LEAKYRELU_API int32_t leakyrelu_get_num_threads(void);

/* Sets it for the whole process. LEAKYRELU_ERROR_NUM_THREADS for counts below 1. However large it is, no call starts
 * more than 8 threads for each core. */
LEAKYRELU_API leakyrelu_status leakyrelu_set_num_threads(int32_t num_threads);

/* ---- Large buffers, for outputs. Of 32 MiB and more they lie on huge pages, aligned to 2 MiB, and are kept for reuse
 * when they are freed, for fresh pages cost more than LeakyReLU on them. The system takes kept ones when it is short of
 * memory. A child of fork() begins with none. */

/* Memory for `bytes` bytes, aligned to 64 at least; NULL if there is none. What it holds is not defined. */
LEAKYRELU_API void* leakyrelu_alloc(size_t bytes);

/* Frees what leakyrelu_alloc returned, from any thread; NULL is fine. */
LEAKYRELU_API void leakyrelu_free(void* memory);

/* Gives all kept buffers back to the system. */
LEAKYRELU_API void leakyrelu_empty_cache(void);

/* The most bytes that are kept. 0 turns it off: all buffers are the C library's. A negative number means the default:
 * the environment variable LEAKYRELU_CACHE_LIMIT if it was a number of bytes, else 1 GiB or an eighth of the memory
 * that the process may use, whichever is less. In any case kept buffers are no more than two of the largest that was in
 * use, and together with those in use no more than were in use at once, both since leakyrelu_empty_cache; and what
 * nothing has reused for 5 seconds goes back to the system at the next call for or of a large buffer. */
LEAKYRELU_API void leakyrelu_set_cache_limit(int64_t bytes);

/* Of large buffers; those of the C library (while the limit is 0, or when the system refuses others) do not count. */
typedef struct leakyrelu_memory_stats {
  int64_t in_use; /* bytes handed out and not freed */
  int64_t cached; /* bytes kept */
  int64_t limit;  /* most bytes that may be kept */
  int64_t large;  /* bytes from which a buffer is large */
  int64_t reused; /* calls of leakyrelu_alloc that got a kept buffer */
  int64_t fresh;  /* calls that got one from the system */
} leakyrelu_memory_stats;

LEAKYRELU_API leakyrelu_memory_stats leakyrelu_get_memory_stats(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* LEAKYRELU_LEAKYRELU_H_ */
