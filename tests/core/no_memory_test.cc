// Proves that the C functions need no memory: from the first call on, whatever asks for some is refused, and all calls
// compute or report as ever. Nothing may throw.
//
// No GoogleTest, which needs memory itself.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <new>

#include "leakyrelu/leakyrelu.h"

// Last, for other headers may declare what it defines.
#include "allocations.h"

namespace {

int failures = 0;

#define EXPECT(condition)                                                          \
  do {                                                                             \
    if (!(condition)) {                                                            \
      ++failures;                                                                  \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                              \
  } while (0)

constexpr int64_t kMany = (int64_t{1} << 20) + 24;  // enough for several threads
constexpr float kSlope = 0.5f;

float x[kMany];
float y[kMany];
uint8_t mask[kMany / 8];

void FillX() {
  using Limits = std::numeric_limits<float>;
  const float numbers[] = {1.5f,
                           -1.5f,
                           0.0f,
                           -0.0f,
                           Limits::quiet_NaN(),
                           Limits::infinity(),
                           -Limits::infinity(),
                           Limits::denorm_min(),
                           -Limits::denorm_min(),
                           Limits::max(),
                           -Limits::max()};
  for (int64_t i = 0; i < kMany; ++i) x[i] = numbers[i % 11];
}

bool IsRight(float in, float out) {
  const float expected = in > 0 ? in : in * kSlope;
  return expected != expected ? out != out : std::memcmp(&expected, &out, sizeof(out)) == 0;
}

// y: rows of a length, `gap` apart.
bool AreRight(int64_t elements, int64_t row, int64_t gap) {
  for (int64_t i = 0; i < elements; ++i) {
    if (!IsRight(x[i], y[i / row * gap + i % row])) return false;
    if ((mask[i / 8] >> (i % 8) & 1) != (x[i] > 0)) return false;
  }
  return true;
}

void RunOneByOne(void* /*context*/, int64_t tasks, leakyrelu_task task, void* work) {
  for (int64_t i = 0; i < tasks; ++i) task(work, i);
}

void Throw(void* /*context*/, int64_t /*tasks*/, leakyrelu_task /*task*/, void* /*work*/) { throw std::bad_alloc(); }

void Rows(int64_t elements, const leakyrelu_executor* executor) {
  const size_t mask_bytes = leakyrelu_mask_bytes(elements);
  const leakyrelu_array in = {x, LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  const leakyrelu_array out = {y, LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  EXPECT(leakyrelu_forward(&in, &out, kSlope, mask, mask_bytes, executor) == LEAKYRELU_OK);
  EXPECT(AreRight(elements, elements, 0));
  std::memset(y, 0, sizeof(y));
  EXPECT(leakyrelu_backward(&in, mask, mask_bytes, &out, kSlope, executor) == LEAKYRELU_OK);
  EXPECT(AreRight(elements, elements, 0));
  std::memset(mask, 0xA5, sizeof(mask));
  EXPECT(leakyrelu_forward(&in, nullptr, kSlope, mask, mask_bytes, executor) == LEAKYRELU_OK);
  EXPECT(AreRight(elements, elements, 0));
}

void Strided(int64_t rows, const leakyrelu_executor* executor) {
  const int64_t shape[] = {rows, 24};
  const int64_t strides[] = {30, 1};
  const leakyrelu_array in = {x, LEAKYRELU_FLOAT32, 2, shape, nullptr};
  const leakyrelu_array out = {y, LEAKYRELU_FLOAT32, 2, shape, strides};
  const size_t mask_bytes = leakyrelu_mask_bytes(rows * 24);
  EXPECT(leakyrelu_forward(&in, &out, kSlope, mask, mask_bytes, executor) == LEAKYRELU_OK);
  EXPECT(AreRight(rows * 24, 24, 30));
  std::memset(y, 0, sizeof(y));
  EXPECT(leakyrelu_backward(&in, mask, mask_bytes, &out, kSlope, executor) == LEAKYRELU_OK);
  EXPECT(AreRight(rows * 24, 24, 30));
}

// Rows of 24, whose bias of a stride is gathered, with both masks and back.
void Fused(int64_t rows, const leakyrelu_executor* executor) {
  static float bias[2 * 24];
  static uint8_t within[kMany / 8];
  const int64_t shape[] = {rows, 24};
  const int64_t stride = 2;
  const size_t mask_bytes = leakyrelu_mask_bytes(rows * 24);
  const leakyrelu_array in = {x, LEAKYRELU_FLOAT32, 2, shape, nullptr};
  const leakyrelu_array out = {y, LEAKYRELU_FLOAT32, 2, shape, nullptr};
  const leakyrelu_array zeros = {bias, LEAKYRELU_FLOAT32, 1, shape + 1, &stride};
  const float largest = std::numeric_limits<float>::max();
  const leakyrelu_fused fused = {&zeros, 1, 1.0, largest};
  EXPECT(leakyrelu_fused_forward(&in, &out, &fused, kSlope, mask, within, mask_bytes, executor) == LEAKYRELU_OK);
  for (int64_t i = 0; i < rows * 24; ++i) {
    const float t = x[i] + 0.0f;
    const float v = t > 0 ? t : t * kSlope;
    const bool is_within = -largest <= v && v <= largest;
    const float w = v > largest ? largest : v < -largest ? -largest : v;
    EXPECT(v != v ? y[i] != y[i] : y[i] == w);
    EXPECT((mask[i / 8] >> (i % 8) & 1) == (t > 0));
    EXPECT((within[i / 8] >> (i % 8) & 1) == is_within);
  }
  EXPECT(leakyrelu_fused_backward(&in, mask, within, mask_bytes, &out, &fused, kSlope, executor) == LEAKYRELU_OK);
  for (int64_t i = 0; i < rows * 24; ++i) {
    const float v = x[i] > 0 ? x[i] : x[i] * kSlope;
    EXPECT(y[i] == (-largest <= v && v <= largest ? v : 0.0f));
  }
}

void Errors() {
  const int64_t shape[] = {kMany};
  const int64_t woven[] = {3, 5, 7, 11, 13};
  const int64_t strides[] = {1155, 231, 77, 7, 3};
  const leakyrelu_array array = {x, LEAKYRELU_FLOAT32, 1, shape, nullptr};
  const leakyrelu_array tangled = {x, LEAKYRELU_FLOAT32, 5, woven, strides};
  const leakyrelu_array shifted = {x + 1, LEAKYRELU_FLOAT32, 5, woven, strides};
  EXPECT(leakyrelu_forward(&array, &array, 0.1, mask, 1, nullptr) == LEAKYRELU_ERROR_MASK_BYTES);
  EXPECT(leakyrelu_forward(&tangled, &shifted, 0.1, nullptr, 0, nullptr) != LEAKYRELU_OK);
  // What this executor lacks is not what the library lacks.
  const leakyrelu_executor throws = {nullptr, Throw, 2};
  EXPECT(leakyrelu_forward(&array, &array, 0.1, nullptr, 0, &throws) == LEAKYRELU_ERROR_EXECUTOR_FAILED);
  for (int32_t status = -1; status < 40; ++status) {
    EXPECT(leakyrelu_status_message(static_cast<leakyrelu_status>(status)) != nullptr);
  }
  EXPECT(leakyrelu_version() != nullptr);
}

// Where there is no memory, there is none to hand out either.
void Buffers() {
  for (size_t bytes : {size_t{1}, size_t{1} << 20, size_t{64} << 20}) {
    void* const memory = leakyrelu_alloc(bytes);
    if (memory != nullptr) std::memset(memory, 1, bytes);
    leakyrelu_free(memory);
  }
  leakyrelu_set_cache_limit(-1);
  leakyrelu_empty_cache();
  EXPECT(leakyrelu_get_memory_stats().in_use == 0);
}

}  // namespace

int main() {
  FillX();
  allocations::Refuse(1, /*only_that=*/false);
  const leakyrelu_executor executor = {nullptr, RunOneByOne, 4};
  for (int64_t elements : {int64_t{24}, kMany}) Rows(elements, nullptr);
  Rows(kMany, &executor);
  for (int64_t rows : {int64_t{2}, kMany / 30}) Strided(rows, nullptr);
  Strided(kMany / 30, &executor);
  for (int64_t rows : {int64_t{2}, kMany / 24}) Fused(rows, nullptr);
  Fused(kMany / 24, &executor);
  Errors();
  EXPECT(leakyrelu_get_num_threads() >= 1);
  EXPECT(leakyrelu_set_num_threads(4) == LEAKYRELU_OK);
  Rows(kMany, nullptr);
  Buffers();
  allocations::Allow();
  if (failures == 0) std::puts("no memory is needed");
  return failures == 0 ? 0 : 1;
}
