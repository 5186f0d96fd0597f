// When to do without threads that keep a call waiting.
#ifndef LEAKYRELU_SRC_HELD_UP_H_
#define LEAKYRELU_SRC_HELD_UP_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace leakyrelu {

// A call is held up if it takes much longer than its caller alone would have needed, by the speed of the caller's own
// tasks: a thread has lost its processor to another process, inside a task or before it began. That may happen again,
// so calls pause: they do without those threads for kAtFirst times as long as was lost. If they are held up again
// before threads have served for as long as the pause was, the next one is twice as long, up to kTimes of what was
// lost. So on a machine that stays busy a part in kTimes of the time is lost, and a single hiccup costs little more
// than itself.
class HeldUp {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether calls do without at this time.
  bool IsOn(Clock::time_point now) const { return now.time_since_epoch() < until_.load(std::memory_order_relaxed); }

  // A call with those threads has taken from `start` to `end`. Its caller would have needed as long as `alone`.
  void Note(Clock::time_point start, Clock::time_point end, Clock::duration alone) {
    constexpr auto kRelaxed = std::memory_order_relaxed;  // of calls at once, some may not count
    const Clock::duration lost = end - start - alone;
    if (lost <= std::clamp<Clock::duration>(alone, kLeast, kMost)) {
      served_.store(served_.load(kRelaxed) + (end - start), kRelaxed);
    } else if (start.time_since_epoch() >= until_.load(kRelaxed)) {  // else another call has met the same
      const Clock::duration last = pause_.load(kRelaxed);
      const Clock::duration longer = served_.load(kRelaxed) < last ? 2 * last : Clock::duration::zero();
      const Clock::duration pause = std::clamp(longer, kAtFirst * lost, kTimes * lost);
      until_.store((end + pause).time_since_epoch(), kRelaxed);
      pause_.store(pause, kRelaxed);
      served_.store(Clock::duration::zero(), kRelaxed);
    }
  }

 private:
  // What counts as much longer: as long again, but no less than to wake a thread takes, and no more than to wait for a
  // turn on a processor.
  static constexpr auto kLeast = std::chrono::microseconds(20);
  static constexpr auto kMost = std::chrono::microseconds(200);
  static constexpr int kAtFirst = 2;
  static constexpr int kTimes = 20;

  std::atomic<Clock::duration> until_;   // the end of the last pause
  std::atomic<Clock::duration> pause_;   // its length
  std::atomic<Clock::duration> served_;  // how long calls with threads have taken since
};

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_HELD_UP_H_
