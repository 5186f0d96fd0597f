// When to do without threads that keep a call waiting.
#ifndef LEAKYRELU_SRC_HELD_UP_H_
#define LEAKYRELU_SRC_HELD_UP_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace leakyrelu {

// A call is held up if it takes much longer than its caller alone would have needed, by the speed of the caller's own
// tasks: a thread has lost its processor to another process, inside a task or before it began. That will happen again,
// so calls do without those threads for kTimes as long as was lost. However busy the machine is, at most a part in
// kTimes of the time is lost then; and a single hiccup costs no more.
class HeldUp {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether calls do without at this time.
  bool IsOn(Clock::time_point now) const { return now.time_since_epoch() < until_.load(std::memory_order_relaxed); }

  // A call ends that has begun at `start`. Its caller would have needed as long as `alone`.
  void Note(Clock::time_point start, Clock::duration alone) {
    const Clock::time_point end = Clock::now();
    const Clock::duration lost = end - start - alone;
    if (lost > std::clamp<Clock::duration>(alone, kLeast, kMost))
      until_.store((end + kTimes * lost).time_since_epoch(), std::memory_order_relaxed);
  }

 private:
  // What counts as much longer: as long again, but no less than to wake a thread takes, and no more than to wait for a
  // turn on a processor.
  static constexpr auto kLeast = std::chrono::microseconds(20);
  static constexpr auto kMost = std::chrono::microseconds(200);
  static constexpr int kTimes = 20;

  std::atomic<Clock::duration> until_;
};

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_HELD_UP_H_
