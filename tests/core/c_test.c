/* Proves that leakyrelu.h and cuda.h are plain C11 and that a C program gets right results from each function in it. */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "leakyrelu/cuda.h" /* only that it compiles */
#include "leakyrelu/leakyrelu.h"

/* The layouts that programs were compiled with: see tests/consumers/abi.txt. */
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(leakyrelu_dtype) == 4 && sizeof(leakyrelu_status) == 4, "");
_Static_assert(sizeof(leakyrelu_array) == 32 && offsetof(leakyrelu_array, data) == 0 &&
                   offsetof(leakyrelu_array, dtype) == 8 && offsetof(leakyrelu_array, ndim) == 12 &&
                   offsetof(leakyrelu_array, shape) == 16 && offsetof(leakyrelu_array, strides) == 24,
               "leakyrelu_array");
_Static_assert(sizeof(leakyrelu_fused) == 32 && offsetof(leakyrelu_fused, bias) == 0 &&
                   offsetof(leakyrelu_fused, dim) == 8 && offsetof(leakyrelu_fused, scale) == 16 &&
                   offsetof(leakyrelu_fused, clamp) == 24,
               "");
_Static_assert(sizeof(leakyrelu_executor) == 24 && offsetof(leakyrelu_executor, context) == 0 &&
                   offsetof(leakyrelu_executor, parallel_for) == 8 && offsetof(leakyrelu_executor, num_threads) == 16,
               "leakyrelu_executor");
_Static_assert(sizeof(leakyrelu_memory_stats) == 48 && offsetof(leakyrelu_memory_stats, in_use) == 0 &&
                   offsetof(leakyrelu_memory_stats, cached) == 8 && offsetof(leakyrelu_memory_stats, limit) == 16 &&
                   offsetof(leakyrelu_memory_stats, large) == 24 && offsetof(leakyrelu_memory_stats, reused) == 32 &&
                   offsetof(leakyrelu_memory_stats, fresh) == 40,
               "leakyrelu_memory_stats");
#endif

static int failures = 0;

#define EXPECT(condition)                                                     \
  do {                                                                        \
    if (!(condition)) {                                                       \
      ++failures;                                                             \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                         \
  } while (0)

/* m = LeakyReLU(0.1); output = m(input) for two numbers. */
static void LeakyReluOfTwoNumbers(void) {
  const float input[2] = {1.5f, -2.0f};
  float output[2] = {0};
  const int64_t shape[1] = {2};
  const leakyrelu_array x = {(void*)input, LEAKYRELU_FLOAT32, 1, shape, NULL};
  const leakyrelu_array y = {output, LEAKYRELU_FLOAT32, 1, shape, NULL};
  EXPECT(leakyrelu_forward(&x, &y, 0.1, NULL, 0, NULL) == LEAKYRELU_OK);
  EXPECT(output[0] == 1.5f);
  EXPECT(output[1] == -2.0f * 0.1f);
}

static void ForwardInPlaceWithMask(void) {
  double x[9] = {1, -1, 0, 4, -5, 6, 7, -8, 9};
  const double expected[9] = {1, -0.25, 0, 4, -1.25, 6, 7, -2, 9};
  uint8_t mask[2] = {0xFF, 0xFF};
  const int64_t shape[2] = {3, 3};
  const leakyrelu_array array = {x, LEAKYRELU_FLOAT64, 2, shape, NULL};
  EXPECT(leakyrelu_mask_bytes(9) == sizeof(mask));
  EXPECT(leakyrelu_forward(&array, &array, 0.25, mask, sizeof(mask), NULL) == LEAKYRELU_OK);
  EXPECT(memcmp(x, expected, sizeof(x)) == 0);
  EXPECT(mask[0] == 0x69);
  EXPECT(mask[1] == 0x01);
}

static void BackwardOfTransposed(void) {
  const float dy[6] = {1, 2, 3, 4, 5, 6}; /* 3 rows of 2, seen as 2 rows of 3 */
  float dx[6] = {0};
  const float expected[6] = {1, 1.5f, 5, 1, 4, 3};
  const uint8_t mask[1] = {0x15}; /* bits 0, 2, 4 */
  const int64_t shape[2] = {2, 3};
  const int64_t transposed[2] = {1, 2};
  const leakyrelu_array in = {(void*)dy, LEAKYRELU_FLOAT32, 2, shape, transposed};
  const leakyrelu_array out = {dx, LEAKYRELU_FLOAT32, 2, shape, NULL};
  EXPECT(leakyrelu_backward(&in, mask, sizeof(mask), &out, 0.5, NULL) == LEAKYRELU_OK);
  EXPECT(memcmp(dx, expected, sizeof(dx)) == 0);
}

static void HalfPrecision(void) {
  uint16_t float16[2] = {0x3C00, 0xC000};  /* 1, -2 */
  uint16_t bfloat16[2] = {0x3F80, 0xC000}; /* the same */
  const int64_t shape[1] = {2};
  const leakyrelu_array f = {float16, LEAKYRELU_FLOAT16, 1, shape, NULL};
  const leakyrelu_array b = {bfloat16, LEAKYRELU_BFLOAT16, 1, shape, NULL};
  EXPECT(leakyrelu_forward(&f, &f, 0.5, NULL, 0, NULL) == LEAKYRELU_OK);
  EXPECT(leakyrelu_forward(&b, &b, 0.5, NULL, 0, NULL) == LEAKYRELU_OK);
  EXPECT(float16[0] == 0x3C00 && float16[1] == 0xBC00);
  EXPECT(bfloat16[0] == 0x3F80 && bfloat16[1] == 0xBF80);
}

static void Scalar(void) {
  float x = -3.0f;
  uint8_t mask = 0xFF;
  const leakyrelu_array array = {&x, LEAKYRELU_FLOAT32, 0, NULL, NULL};
  EXPECT(leakyrelu_forward(&array, &array, 2.0, &mask, 1, NULL) == LEAKYRELU_OK);
  EXPECT(x == -6.0f);
  EXPECT(mask == 0);
}

static void NaNStaysNaN(void) {
  float x[2] = {NAN, -INFINITY};
  const int64_t shape[1] = {2};
  const leakyrelu_array array = {x, LEAKYRELU_FLOAT32, 1, shape, NULL};
  EXPECT(leakyrelu_forward(&array, &array, 0.0, NULL, 0, NULL) == LEAKYRELU_OK);
  EXPECT(isnan(x[0]));
  EXPECT(isnan(x[1])); /* -inf * 0 */
}

static void FusedBothWays(void) {
  float x[4] = {1, -2, 3, -8}; /* 2 rows of 2 */
  float b[2] = {1, -4};
  const float expected[4] = {3, -1, -1, -3}; /* t = 2, -1, -1, -12 */
  const float gradient[4] = {0, 1, 1, 0};
  float dx[4] = {1, 1, 1, 1};
  uint8_t mask = 0xFF;
  uint8_t within = 0xFF;
  const int64_t shape[2] = {2, 2};
  const leakyrelu_array array = {x, LEAKYRELU_FLOAT32, 2, shape, NULL};
  const leakyrelu_array bias = {b, LEAKYRELU_FLOAT32, 1, shape, NULL};
  const leakyrelu_array d = {dx, LEAKYRELU_FLOAT32, 2, shape, NULL};
  const leakyrelu_fused fused = {&bias, 0, 2.0, 3.0};
  EXPECT(leakyrelu_fused_forward(&array, &array, &fused, 0.5, &mask, &within, 1, NULL) == LEAKYRELU_OK);
  EXPECT(memcmp(x, expected, sizeof(x)) == 0);
  EXPECT(mask == 0x01);
  EXPECT(within == 0x06);
  EXPECT(leakyrelu_fused_backward(&d, &mask, &within, 1, &d, &fused, 0.5, NULL) == LEAKYRELU_OK);
  EXPECT(memcmp(dx, gradient, sizeof(dx)) == 0);
}

static void CountAndRun(void* context, int64_t tasks, leakyrelu_task task, void* work) {
  *(int64_t*)context += tasks;
  for (int64_t i = 0; i < tasks; ++i) task(work, i);
}

static void Executor(void) {
  static float x[1 << 18];
  const int64_t shape[1] = {1 << 18};
  const leakyrelu_array array = {x, LEAKYRELU_FLOAT32, 1, shape, NULL};
  int64_t tasks = 0;
  const leakyrelu_executor executor = {&tasks, CountAndRun, 2};
  for (int i = 0; i < 1 << 18; ++i) x[i] = -1.0f;
  EXPECT(leakyrelu_forward(&array, &array, 0.5, NULL, 0, &executor) == LEAKYRELU_OK);
  EXPECT(tasks == 2);
  EXPECT(x[0] == -0.5f && x[(1 << 18) - 1] == -0.5f);
}

static void Errors(void) {
  float x = 1.0f;
  const leakyrelu_array unset = {0};
  const leakyrelu_array array = {&x, LEAKYRELU_FLOAT32, 0, NULL, NULL};
  EXPECT(leakyrelu_forward(&unset, &unset, 0.1, NULL, 0, NULL) == LEAKYRELU_ERROR_DTYPE);
  EXPECT(leakyrelu_forward(NULL, &array, 0.1, NULL, 0, NULL) == LEAKYRELU_ERROR_NULL_INPUT);
  EXPECT(leakyrelu_backward(&array, NULL, 0, &array, 0.1, NULL) == LEAKYRELU_ERROR_NULL_MASK);
  EXPECT(leakyrelu_forward(&array, &array, 1e300, NULL, 0, NULL) == LEAKYRELU_ERROR_SLOPE_OVERFLOW);
  EXPECT(x == 1.0f);
  EXPECT(strstr(leakyrelu_status_message(LEAKYRELU_ERROR_DTYPE), "dtype") != NULL);
}

static void Threads(void) {
  EXPECT(leakyrelu_get_num_threads() >= 1);
  EXPECT(leakyrelu_set_num_threads(0) == LEAKYRELU_ERROR_NUM_THREADS);
  EXPECT(leakyrelu_set_num_threads(2) == LEAKYRELU_OK);
  EXPECT(leakyrelu_get_num_threads() == 2);
}

int main(void) {
  LeakyReluOfTwoNumbers();
  ForwardInPlaceWithMask();
  BackwardOfTransposed();
  HalfPrecision();
  Scalar();
  NaNStaysNaN();
  FusedBothWays();
  Executor();
  Errors();
  Threads();
  if (failures == 0) puts("all as promised");
  return failures == 0 ? 0 : 1;
}
