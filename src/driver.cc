// Walks over memory.
//
// A task is a range of consecutive elements in the order of the plan. Within it, as long as input and output are
// contiguous, the kernel works on them directly. Where one is strided it works on a small buffer that stays in L1,
// filled by gathering from the input or emptied by scattering to the output; the other side is still used directly if
// it is contiguous. Chunks begin at whole mask bytes, so that kernels never share a byte.

#include "driver.h"

#include <algorithm>
#include <cstring>

#include "system.h"
#include "threads.h"

namespace leakyrelu {
namespace {

// Bytes of the gather/scatter buffer: a quarter of the smallest L1 data caches.
constexpr size_t kBufferBytes = 8192;

// Bytes that are written at once where one element is gathered again and again; at most so many, less one, beyond the
// last element.
constexpr size_t kRepeatBytes = 16;

// Biases that a kernel wants to have before they begin anew.
constexpr int64_t kBiases = 512;

struct Buffer {
  alignas(64) std::byte bytes[kBufferBytes + kRepeatBytes];
};

// Contiguous runs shorter than this are gathered too: below, a kernel call for each costs more than the copy. A mask
// makes calls dearer, and a run that does not end with a mask byte takes two. Measured with rows of 20 to 1000 float32.
constexpr int64_t kShortRun = 64;
constexpr int64_t kShortRunWithMask = 256;
constexpr int64_t kShortRaggedRun = 1024;

// Shorter ones are not worth a store past the cache, which wants whole cache lines and ends with a fence.
constexpr int64_t kStreamingRunBytes = 4096;

// Elements below which a loop copies faster than a call of memcpy.
constexpr int64_t kShortCopy = 16;

// A thread gets as many elements at least, or as many bytes of input. Measured with 2 threads (EPYC, 3.7 GHz, forward
// with mask, warm libgomp, a busy machine): a second thread begins to pay when one needs 5 us, which is 48 Ki elements
// of float16, bfloat16 and float32 and 24 Ki of float64; at two grains it gains 1.1 (float16, bfloat16) and up to 1.5.
constexpr int64_t kGrainElements = 32 * 1024;
constexpr int64_t kGrainBytes = 128 * 1024;

// Elements whose mask bits fill a cache line. Tasks meet only there, so that no two threads write to one line of the
// mask.
constexpr int64_t kElementsPerMaskLine = 64 * 8;

enum class Transfer { kGather, kScatter };

// Copies `count` elements between contiguous memory, part of a Buffer, and memory with a stride, `Word` being as wide
// as an element.
template <Transfer transfer, typename Word>
void CopyRun(std::byte* contiguous, std::byte* strided, int64_t stride, int64_t count) {
  if (stride == 1 && count >= kShortCopy) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(Word);
    std::memcpy(transfer == Transfer::kGather ? contiguous : strided,
                transfer == Transfer::kGather ? strided : contiguous, bytes);
    return;
  }
  if (transfer == Transfer::kGather && stride == 0) {
    std::byte repeated[kRepeatBytes];
    for (size_t i = 0; i < kRepeatBytes; i += sizeof(Word)) std::memcpy(repeated + i, strided, sizeof(Word));
    const ptrdiff_t bytes = static_cast<ptrdiff_t>(count) * static_cast<ptrdiff_t>(sizeof(Word));
    for (ptrdiff_t i = 0; i < bytes; i += ptrdiff_t{kRepeatBytes}) std::memcpy(contiguous + i, repeated, kRepeatBytes);
    return;
  }
  const ptrdiff_t step = static_cast<ptrdiff_t>(stride) * static_cast<ptrdiff_t>(sizeof(Word));
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(transfer == Transfer::kGather ? contiguous : strided,  // memcpy: addresses may be unaligned
                transfer == Transfer::kGather ? strided : contiguous, sizeof(Word));
    contiguous += sizeof(Word);
    strided += step;
  }
}

// A position in the nested loops.
class Cursor {
 public:
  Cursor(const Plan& plan, int64_t element) : plan_(&plan), in_(plan.in_start), out_(plan.out_start) {
    for (int i = plan.dims - 1; i >= 0; --i) {
      const Loop& loop = plan.loops[i];
      index_[i] = element % loop.extent;
      element /= loop.extent;
      in_ += index_[i] * loop.in_stride;
      out_ += index_[i] * loop.out_stride;
    }
  }

  const Loop& inner() const { return plan_->loops[plan_->dims - 1]; }

  // Elements left in the innermost loop, this one included.
  int64_t RunLength() const { return inner().extent - index_[plan_->dims - 1]; }

  // Of this element from the arrays' addresses, in elements.
  int64_t in_offset() const { return in_; }
  int64_t out_offset() const { return out_; }

  // By at most RunLength().
  void Advance(int64_t count) {
    int i = plan_->dims - 1;
    Move(i, count);
    for (; index_[i] == plan_->loops[i].extent && i > 0; --i) {
      Move(i, -index_[i]);
      Move(i - 1, 1);
    }
  }

  // By any number of elements that are left.
  void Skip(int64_t count) {
    for (int64_t run; count > 0; count -= run) {
      run = std::min(count, RunLength());
      Advance(run);
    }
  }

 private:
  void Move(int i, int64_t count) {
    index_[i] += count;
    in_ += count * plan_->loops[i].in_stride;
    out_ += count * plan_->loops[i].out_stride;
  }

  const Plan* plan_;
  int64_t in_;
  int64_t out_;
  int64_t index_[kMaxDims];
};

// One call, as its tasks see it.
class Walk {
 public:
  Walk(const Job& job, const Plan& plan, int64_t tasks)
      : job_(job),
        plan_(plan),
        tasks_(tasks),
        in_(FindContiguity(job.in, &Loop::in_stride)),
        out_(job.out != nullptr ? FindContiguity(job.out, &Loop::out_stride) : Contiguity::kWhole),
        streams_(job.in != job.out && plan.elements * Bytes() >= CacheBytes() / 4 * 3) {}

  void Task(int64_t task) const {
    if (job_.fused == nullptr) return Range(Border(task), Border(task + 1), nullptr);
    Biases biases;
    Range(Border(task), Border(task + 1), &biases);
  }

 private:
  // How far a kernel may go on in an array: not at all, along a run of the innermost loop, or from first to last
  // element.
  enum class Contiguity { kNone, kRun, kWhole };

  // Biases that a task has gathered: those of the plan's first runs.
  struct Biases {
    Buffer buffer;
    int64_t gathered = 0;
  };

  Contiguity FindContiguity(const std::byte* data, int64_t Loop::* stride) const {
    const Loop* loops = plan_.loops;
    int i = plan_.dims - 1;
    if (loops[i].*stride != 1 || reinterpret_cast<uintptr_t>(data) % job_.itemsize != 0) return Contiguity::kNone;
    while (i > 0 && loops[i - 1].*stride == loops[i].*stride * loops[i].extent) --i;
    return i == 0 ? Contiguity::kWhole : Contiguity::kRun;
  }

  // The element at which a task begins.
  int64_t Border(int64_t task) const {
    if (task == 0) return 0;
    if (task == tasks_) return plan_.elements;
    const int64_t bytes_to_line = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(job_.mask) % 64);
    const int64_t border = plan_.elements / tasks_ * task / kElementsPerMaskLine * kElementsPerMaskLine;
    return std::min(border + bytes_to_line * 8, plan_.elements);
  }

  void Range(int64_t begin, int64_t end, Biases* biases) const {
    const int64_t unit = job_.mask != nullptr ? 8 : 1;
    const int64_t buffer_elements = static_cast<int64_t>(kBufferBytes / job_.itemsize);
    const Loop& inner = plan_.loops[plan_.dims - 1];
    const int64_t run_length = inner.extent;
    if (job_.fused == nullptr && inner.in_stride == 0 && out_ != Contiguity::kNone && run_length % unit == 0 &&
        run_length >= kShortRun) {
      return RepeatedRange(begin, end);
    }
    const bool direct = in_ != Contiguity::kNone && out_ != Contiguity::kNone && run_length >= ShortRun(run_length);

    Cursor cursor(plan_, begin);
    while (begin < end) {
      const int64_t run = std::min(cursor.RunLength(), end - begin);
      int64_t count = std::min(buffer_elements, end - begin);
      if (direct) {
        // Whole mask bytes of the run directly; what is left of it through the buffer, with the next run's beginning.
        const int64_t whole = begin + run == end ? run : run / unit * unit;
        count = whole > 0 ? whole : std::min(unit, end - begin);
      }
      Chunk(&cursor, begin, count, biases);
      begin += count;
    }
  }

  // Where each run of the input is one element again and again, as in the gradient of a sum: the buffer is filled once
  // for each element, so that little but the output moves.
  void RepeatedRange(int64_t begin, int64_t end) const {
    Buffer buffer;
    const int64_t buffer_elements = static_cast<int64_t>(kBufferBytes / job_.itemsize);
    int64_t element = 0;  // the offset of the one that the buffer holds
    int64_t filled = 0;   // how often
    Cursor cursor(plan_, begin);
    while (begin < end) {
      const int64_t count = std::min({cursor.RunLength(), end - begin, buffer_elements});
      if (cursor.in_offset() != element || count > filled) {
        element = cursor.in_offset();
        filled = count;
        Cursor source = cursor;
        Copy<Transfer::kGather>(&source, buffer.bytes, count);
      }
      KernelFor(count)(buffer.bytes, Out(cursor), Mask(begin), static_cast<size_t>(count), job_.slope);
      cursor.Skip(count);
      begin += count;
    }
  }

  int64_t ShortRun(int64_t run_length) const {
    if (job_.mask == nullptr) return kShortRun;
    return run_length % 8 == 0 ? kShortRunWithMask : kShortRaggedRun;
  }

  // The kernel once, over the `count` elements from the cursor on, which it moves behind them.
  void Chunk(Cursor* cursor, int64_t begin, int64_t count, Biases* biases) const {
    const bool one_run = count <= cursor->RunLength();
    const bool read_directly = in_ == Contiguity::kWhole || (in_ == Contiguity::kRun && one_run);
    const bool write_directly = out_ == Contiguity::kWhole || (out_ == Contiguity::kRun && one_run);
    if (!read_directly || !write_directly) {
      return Buffered(cursor, begin, count, biases, read_directly, write_directly);
    }
    if (job_.fused != nullptr) {
      Fused(In(*cursor), Out(*cursor), begin, count, biases, Streams(count));
    } else {
      KernelFor(count)(In(*cursor), Out(*cursor), Mask(begin), static_cast<size_t>(count), job_.slope);
    }
    cursor->Skip(count);
  }

  void Buffered(Cursor* cursor, int64_t begin, int64_t count, Biases* biases, bool read_directly,
                bool write_directly) const {
    Buffer buffer;
    std::byte* out = write_directly ? Out(*cursor) : buffer.bytes;
    Cursor target = *cursor;
    const std::byte* in = buffer.bytes;
    if (read_directly) {
      in = In(*cursor);
      cursor->Skip(count);
    } else {
      Copy<Transfer::kGather>(cursor, buffer.bytes, count);
    }
    if (job_.fused != nullptr) {
      Fused(in, out, begin, count, biases, write_directly && Streams(count));
    } else {
      const Kernel kernel = write_directly ? KernelFor(count) : job_.kernel;
      kernel(in, out, Mask(begin), static_cast<size_t>(count), job_.slope);
    }
    if (!write_directly) Copy<Transfer::kScatter>(&target, buffer.bytes, count);
  }

  // For `count` elements that are written where they belong.
  Kernel KernelFor(int64_t count) const { return Streams(count) ? job_.streaming_kernel : job_.kernel; }
  bool Streams(int64_t count) const { return streams_ && count * Bytes() >= kStreamingRunBytes; }

  // The fused kernel over the `count` elements from `begin` on: in one call, unless the buffer cannot hold their
  // biases.
  void Fused(const std::byte* in, std::byte* out, int64_t begin, int64_t count, Biases* biases, bool streams) const {
    const FusedJob& fused = *job_.fused;
    const BiasRuns& runs = plan_.bias;
    const int64_t most = static_cast<int64_t>(kBufferBytes / job_.itemsize - kBiasesAgain);
    const bool all_fit = runs.extent <= most;
    for (int64_t part, done = 0; done < count; done += part) {
      part = count - done;
      const int64_t run = (begin + done) / runs.run;
      int64_t in_run = (begin + done) % runs.run;
      if (fused.bias != nullptr && all_fit) {
        if (biases->gathered == 0) {
          // Short ones several times: each time that the kernel begins anew costs it something.
          biases->gathered = runs.extent * std::max<int64_t>(1, std::min(most, kBiases) / runs.extent);
          GatherBiases(0, biases->gathered, &biases->buffer);
        }
        in_run += run % biases->gathered * runs.run;
      } else if (fused.bias != nullptr) {
        biases->gathered = std::min((in_run + part - 1) / runs.run + 1, most);
        GatherBiases(run % runs.extent, biases->gathered, &biases->buffer);
        if ((in_run + part - 1) / runs.run >= most) part = (most * runs.run - in_run) / 8 * 8;
      }
      const FusedChunk chunk = {in + done * Bytes(),
                                fused.bias != nullptr ? biases->buffer.bytes : nullptr,
                                static_cast<size_t>(biases->gathered),
                                static_cast<size_t>(runs.run),
                                static_cast<size_t>(in_run),
                                out + done * Bytes(),
                                Mask(begin + done),
                                fused.within != nullptr ? fused.within + (begin + done) / 8 : nullptr,
                                static_cast<size_t>(part),
                                streams};
      fused.kernel(chunk, fused.numbers);
    }
  }

  // Of `count` runs from the one of `index` on, and of kBiasesAgain behind them.
  void GatherBiases(int64_t index, int64_t count, Buffer* buffer) const {
    const BiasRuns& runs = plan_.bias;
    std::byte* to = buffer->bytes;
    count += int64_t{kBiasesAgain};
    for (int64_t more; count > 0; count -= more, to += more * Bytes(), index = 0) {
      more = std::min(runs.extent - index, count);
      // It is only read.
      std::byte* from = const_cast<std::byte*>(job_.fused->bias) + (runs.start + index * runs.stride) * Bytes();
      WithWord([&](auto word) { CopyRun<Transfer::kGather, decltype(word)>(to, from, runs.stride, more); });
    }
  }

  const std::byte* In(const Cursor& cursor) const { return job_.in + cursor.in_offset() * Bytes(); }
  // Null where there is none.
  std::byte* Out(const Cursor& cursor) const {
    return job_.out != nullptr ? job_.out + cursor.out_offset() * Bytes() : nullptr;
  }
  uint8_t* Mask(int64_t element) const { return job_.mask != nullptr ? job_.mask + element / 8 : nullptr; }

  // Calls copy(Word()), Word being as wide as an element.
  template <typename Function>
  void WithWord(Function copy) const {
    switch (job_.itemsize) {  // 8 else, by the assertion in dtypes.h
      case 1:                 // NOLINT(bugprone-branch-clone): the branches differ in type
        return copy(uint8_t());
      case 2:
        return copy(uint16_t());
      case 4:
        return copy(uint32_t());
      default:
        return copy(uint64_t());
    }
  }

  template <Transfer transfer>
  void Copy(Cursor* cursor, std::byte* buffer, int64_t count) const {
    WithWord([&](auto word) { CopyRuns<transfer, decltype(word)>(cursor, buffer, count); });
  }

  template <Transfer transfer, typename Word>
  void CopyRuns(Cursor* cursor, std::byte* buffer, int64_t count) const {
    while (count > 0) {
      const int64_t run = std::min(count, cursor->RunLength());
      // What is gathered is only read; CopyRun is one function for both ways.
      if constexpr (transfer == Transfer::kGather) {
        CopyRun<transfer, Word>(buffer, const_cast<std::byte*>(In(*cursor)), cursor->inner().in_stride, run);
      } else {
        CopyRun<transfer, Word>(buffer, Out(*cursor), cursor->inner().out_stride, run);
      }
      cursor->Advance(run);
      buffer += run * Bytes();
      count -= run;
    }
  }

  ptrdiff_t Bytes() const { return static_cast<ptrdiff_t>(job_.itemsize); }

  const Job& job_;
  const Plan& plan_;
  const int64_t tasks_;
  const Contiguity in_;
  const Contiguity out_;
  // Stores past the cache from three quarters of its size on: input and output are one and a half of it then. Measured
  // at 32 MiB, one thread and two, with a consumer that reads the output and without: from 24 MiB of output on
  // streaming is faster (1.3 to 1.6), at 16 MiB equal, below slower. In place nothing is read only to be overwritten.
  const bool streams_;
};

}  // namespace

void Run(const Job& job, const Plan& plan, const leakyrelu_executor* executor) {
  const int64_t grains = plan.elements / std::min(kGrainElements, kGrainBytes / static_cast<int64_t>(job.itemsize));
  const Split split = SplitFor(executor, grains);
  Walk walk(job, plan, split.tasks);
  ParallelFor(executor, split, [](void* work, int64_t task) { static_cast<const Walk*>(work)->Task(task); }, &walk);
}

}  // namespace leakyrelu
