// Fuzzes the C functions: the fuzzer's bytes become one call, of which it is known what must come of it.
//
// What is known shares no code with the library: values from core/oracle.h, shared memory from a map of all bytes, and
// from the header's rules the statuses that are justified. A call must return one of them, LEAKYRELU_OK only if there
// is none. AddressSanitizer sees what is read or written beside the elements that the call names; whatever else must
// not change is compared.
//
// libFuzzer calls LLVMFuzzerTestOneInput; in ordinary builds replay.cc does, with the files of corpus/calls.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "../core/oracle.h"
#include "arena.h"
#include "decoder.h"
#include "judgement.h"
#include "leakyrelu/leakyrelu.h"

namespace fuzz {
namespace {

struct Threads {
  enum Kind { kInOrder, kBackwards, kOneEach, kThrows } kind;
  int32_t num_threads;
  bool was_called = false;
};

void ParallelFor(void* context, int64_t tasks, leakyrelu_task task, void* work) {
  Threads& threads = *static_cast<Threads*>(context);
  Require(!threads.was_called, "parallel_for is called twice");
  threads.was_called = true;
  Require(tasks >= 2 && tasks <= threads.num_threads, "tasks beyond the executor's threads", tasks);
  if (threads.kind == Threads::kThrows) {
    task(work, tasks / 2);
    throw std::runtime_error("as it was asked to");
  }
  std::vector<std::thread> running;
  for (int64_t i = 0; i < tasks; ++i) {
    const int64_t index = threads.kind == Threads::kInOrder ? i : tasks - 1 - i;
    if (threads.kind == Threads::kOneEach) {
      running.emplace_back(task, work, index);
    } else {
      task(work, index);
    }
  }
  for (std::thread& thread : running) thread.join();
}

using Image = std::vector<uint8_t>;

uint64_t Load(const Image& image, int64_t at, int64_t itemsize) {
  uint64_t bits = 0;
  std::memcpy(&bits, image.data() + at, static_cast<size_t>(itemsize));  // little-endian, as the library
  return bits;
}

// What the arena must be after a call that is right. Where a NaN must be, which one is taken from `after`.
Image Expected(const Call& call, const Judgement& known, const Image& before, const Image& after) {
  Image image = before;
  const auto dtype = static_cast<oracle::DType>(call.in->dtype - LEAKYRELU_FLOAT16);
  const int64_t itemsize = known.itemsize;
  const auto bit = [&](const Elements& bits, int64_t i) {
    return bits.at.empty() || (before[static_cast<size_t>(bits.at[static_cast<size_t>(i / 8)])] >> (i % 8)) % 2 != 0;
  };
  const auto set_bit = [&](const Elements& bits, int64_t i, bool is_set) {
    if (bits.at.empty()) return;
    uint8_t& byte = image[static_cast<size_t>(bits.at[static_cast<size_t>(i / 8)])];
    if (i % 8 == 0) byte = 0;
    byte = static_cast<uint8_t>(byte | (is_set ? 1u << (i % 8) : 0u));
  };
  int64_t inside = 1;  // elements in a row that have one bias
  for (int32_t dim = call.in->ndim; !known.bias.at.empty() && --dim > call.fused->dim;) inside *= call.in->shape[dim];

  for (int64_t i = 0; i < known.in.count; ++i) {
    const uint64_t x = Load(before, known.in.at[static_cast<size_t>(i)], itemsize);
    uint64_t y = 0;
    if (call.is_fused && call.is_forward) {
      uint64_t bias = oracle::SignBit(dtype);  // x + -0 is x
      if (!known.bias.at.empty()) {
        bias = Load(before, known.bias.at[static_cast<size_t>(i / inside) % known.bias.at.size()], itemsize);
      }
      const auto result = oracle::FusedForward(dtype, x, bias, call.slope, call.fused->scale, call.fused->clamp);
      y = result.y;
      set_bit(known.mask, i, result.positive);
      set_bit(known.within, i, result.within);
    } else if (call.is_forward) {
      y = oracle::Forward(dtype, x, call.slope);
      set_bit(known.mask, i, oracle::IsPositive(dtype, x));
    } else if (call.is_fused) {
      y = oracle::FusedBackward(dtype, x, bit(known.mask, i), bit(known.within, i), call.slope, call.fused->scale);
    } else {
      y = oracle::Backward(dtype, x, bit(known.mask, i), call.slope);
    }
    if (known.out.at.empty()) continue;
    const int64_t at = known.out.at[static_cast<size_t>(i)];
    const uint64_t is = Load(after, at, itemsize);
    std::memcpy(image.data() + at, oracle::Same(dtype, is, y) ? &is : &y, static_cast<size_t>(itemsize));
  }
  return image;
}

void Fill(Source* source, leakyrelu_dtype dtype, const leakyrelu_array* in, int64_t bytes) {
  const int64_t itemsize = ItemSize(dtype);
  static const std::vector<uint64_t> specials[] = {
      oracle::SpecialValues(oracle::DType::kFloat16), oracle::SpecialValues(oracle::DType::kBFloat16),
      oracle::SpecialValues(oracle::DType::kFloat32), oracle::SpecialValues(oracle::DType::kFloat64)};
  const std::vector<uint64_t>& values = specials[IsDType(dtype) ? dtype - LEAKYRELU_FLOAT16 : 0];
  uint64_t state = source->Take(2);
  const int64_t begin = in != nullptr ? static_cast<int64_t>(reinterpret_cast<uintptr_t>(in->data) % 8) : 0;
  for (int64_t at = begin; at + itemsize <= bytes; at += itemsize) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t bits = state >> 63 != 0 ? values[(state >> 33) % values.size()] : state ^ (state << 29);
    std::memcpy(arena + at, &bits, static_cast<size_t>(itemsize));
  }
}

void FuzzCall(Decoder* decoder, bool is_forward, bool is_fused) {
  Source& source = decoder->source;
  Call call;
  call.is_forward = is_forward;
  call.is_fused = is_fused;
  call.slope = source.Number();
  const View in = decoder->OneView(decoder->OneShape(), decoder->dtype);
  const View out = decoder->OneOutput(in);
  if (!source.OneIn(64)) call.in = &in.array;
  if (!source.OneIn(8)) call.out = &out.array;

  Verdict unused;
  const int64_t count = Judge(in.array, 1, decoder->bytes, &unused).count;
  const bool wants_mask = is_forward ? source.OneIn(2) : !source.OneIn(32);
  call.mask_bytes = wants_mask ? MaskBytes(count) : 0;
  if (wants_mask) call.mask = decoder->PlaceMask(call.mask_bytes);

  leakyrelu_fused fused = {nullptr, 0, source.Number(), std::numeric_limits<double>::infinity()};
  View bias;
  if (is_fused) {
    if (source.OneIn(2)) fused.clamp = source.OneIn(8) ? source.Number() : std::fabs(source.Number());
    const bool wants_within = (wants_mask && std::isfinite(fused.clamp)) != source.OneIn(64);
    if (wants_within) call.within = source.OneIn(8) ? call.mask : decoder->PlaceMask(call.mask_bytes);
    if (source.OneIn(2)) {
      fused.dim = static_cast<int32_t>(source.OneIn(64) ? source.Take(4) : source.Take(1) % 8);
      const bool is_dim = fused.dim >= 0 && fused.dim < in.array.ndim;
      if (!is_dim && in.array.ndim > 0 && !source.OneIn(8)) fused.dim %= in.array.ndim;
      const int64_t length = fused.dim >= 0 && fused.dim < in.array.ndim ? in.shape[static_cast<size_t>(fused.dim)] : 1;
      bias = source.OneIn(16) ? decoder->OneView(decoder->OneShape(), decoder->OneDType())
                              : decoder->OneView({length}, decoder->dtype);
      fused.bias = &bias.array;
    }
    if (!source.OneIn(64)) call.fused = &fused;
  }
  if (source.OneIn(32)) call.mask_bytes += static_cast<size_t>(source.Wild());

  constexpr int32_t kThreads[] = {2, 3, 1, 8, 64, 2, 3, std::numeric_limits<int32_t>::max(), 0, -1};
  const int64_t kind = source.Below(8);
  Threads threads = {static_cast<Threads::Kind>(kind % 4), source.Pick(kThreads)};
  leakyrelu_executor executor = {&threads, ParallelFor, threads.num_threads};
  if (kind == 5) executor = {nullptr, leakyrelu_own_threads, threads.num_threads};
  if (kind == 6) executor.parallel_for = nullptr;
  if (kind != 4) call.executor = &executor;

  ASAN_UNPOISON_MEMORY_REGION(arena, kArenaBytes);
  Fill(&source, decoder->dtype, call.in, decoder->bytes);
  const Image before(arena, arena + decoder->bytes);
  ASAN_POISON_MEMORY_REGION(arena, kArenaBytes);
  const Judgement known(call, decoder->bytes);  // opens what is named
  if (known.verdict.is_wrong()) {
    ASAN_POISON_MEMORY_REGION(arena, kArenaBytes);  // what is wrong is found without a look
  } else if (!known.are_in_arena) {
    return;  // nobody could say what is there
  }
  const leakyrelu_status status = call.Run();
  ASAN_UNPOISON_MEMORY_REGION(arena, kArenaBytes);

  const Image after(arena, arena + decoder->bytes);
  if (known.verdict.is_wrong()) {
    Require(status != LEAKYRELU_OK, "what is wrong is not seen");
    Require(known.verdict.Allows(status), "a status that nothing justifies", status);
    Require(after == before, "written in spite of an error", status);
    return;
  }
  Image expected = Expected(call, known, before, after);
  if (threads.was_called && threads.kind == Threads::kThrows) {
    Require(status == LEAKYRELU_ERROR_EXECUTOR_FAILED, "an executor's exception is not seen", status);
    constexpr unsigned kWritten = Judgement::kOut | Judgement::kMask | Judgement::kWithin;
    for (size_t i = 0; i < expected.size(); ++i) {
      if (is_forward ? (known.owners[i] & kWritten) != 0 : (known.owners[i] & Judgement::kOut) != 0)
        expected[i] = after[i];
    }
  } else {
    Require(status == LEAKYRELU_OK, "refused, with nothing wrong", status);
  }
  if (after == expected) return;
  Require(false, "a wrong byte in the arena",
          std::mismatch(after.begin(), after.end(), expected.begin()).first - after.begin());
}

void FuzzOthers(Source* source) {
  const int64_t number = source->Wild();
  Require(leakyrelu_mask_bytes(number) == MaskBytes(number), "leakyrelu_mask_bytes", number);
  const auto status = static_cast<leakyrelu_status>(source->OneIn(2) ? source->Take(4) : source->Take(1));
  const char* const message = leakyrelu_status_message(status);
  Require(message != nullptr && std::strlen(message) > 5, "leakyrelu_status_message", status);
  const int32_t before = leakyrelu_get_num_threads();
  const auto threads = static_cast<int32_t>(source->Take(4));
  const leakyrelu_status set = leakyrelu_set_num_threads(threads);
  Require(set == (threads < 1 ? LEAKYRELU_ERROR_NUM_THREADS : LEAKYRELU_OK), "leakyrelu_set_num_threads", threads);
  Require(leakyrelu_get_num_threads() == (threads < 1 ? before : threads), "leakyrelu_get_num_threads", threads);
  leakyrelu_set_num_threads(before);
}

}  // namespace
}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Decoder decoder(data, size);
  const int64_t function = decoder.source.Below(16);
  if (function == 15) {
    fuzz::FuzzOthers(&decoder.source);
  } else {
    fuzz::FuzzCall(&decoder, function % 2 == 0, function % 4 >= 2);
  }
  return 0;
}
