"""The mutations: faults that a tired colleague might commit."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A fault.

    Attributes:
        name: unique.
        file: its path in the checkout.
        fault: in a line, for who reads the report.
        old: text that is in the file once.
        new: what takes its place.
        asks: the tests likeliest to catch it, in order: by CTest's name, or options and a file of pytest's. Those of
            CTest are followed by all its others.
        reason: why it must survive; empty where it must not.
    """

    name: str
    file: str
    fault: str
    old: str
    new: str
    asks: tuple[str, ...]
    reason: str = ""


def of(file: str, *asks: str) -> Callable[..., Mutation]:
    """The mutations of a file are made by what this returns, called with name, fault, old and new, and a reason."""

    def make(name: str, fault: str, old: str, new: str, reason: str = "") -> Mutation:
        return Mutation(name, file, fault, old, new, asks, reason)

    return make


formula = of("src/formula.h", "fused_kernels_test", "kernels_test", "cuda_emulated_test")
FORMULA = [
    formula(
        "formula-sign-of-dy",
        "the backward looks at dy's sign instead of the mask",
        "return lanes.Select(x_positive, v, lanes.Scale(v, slope));",
        "return lanes.Select(lanes.Positive(v), v, lanes.Scale(v, slope));",
    ),
    formula(
        "formula-bit-before-bias",
        "the bit is x > 0, without the bias",
        "*positive = lanes.Positive(t);",
        "*positive = lanes.Positive(x);",
    ),
    formula(
        "formula-scale-first",
        "scaled before the slope, which rounds otherwise",
        "return lanes.Scale(LeakyReluFormula(lanes, t, *positive, slope), scale);",
        "return LeakyReluFormula(lanes, lanes.Scale(t, scale), *positive, slope);",
    ),
    formula(
        "formula-gradient-slope-first",
        "the slope before the scale in the gradient, which rounds otherwise",
        "return LeakyReluFormula(lanes, lanes.Scale(v, scale), positive, slope);",
        "return lanes.Scale(LeakyReluFormula(lanes, v, positive, slope), scale);",
    ),
    formula(
        "formula-one-factor",
        "slope and scale are multiplied once and for all",
        "return LeakyReluFormula(lanes, lanes.Scale(v, scale), positive, slope);",
        "return lanes.Select(positive, lanes.Scale(v, scale), lanes.Scale(v, lanes.Scale(slope, scale)));",
    ),
    formula(
        "formula-slope-before-bias",
        "the slope is applied to x, and the bias is added behind it",
        "const V t = lanes.Add(x, bias);\n  *positive = lanes.Positive(t);\n"
        "  return lanes.Scale(LeakyReluFormula(lanes, t, *positive, slope), scale);",
        "*positive = lanes.Positive(lanes.Add(x, bias));\n"
        "  return lanes.Scale(lanes.Add(LeakyReluFormula(lanes, x, *positive, slope), bias), scale);",
    ),
]

lanes = of("src/lanes-inl.h", "kernels_test", "fused_kernels_test")
LANES = [
    lanes(
        "lanes-zero-is-positive",
        ">= for >: zero counts as positive",
        "return hn::Gt(x, hn::Zero(D()));",
        "return hn::Ge(x, hn::Zero(D()));",
    ),
    lanes(
        "lanes-first-nan-is-positive",
        "of the 16-bit formats' NaN the first wraps around too late",
        "constexpr int16_t kDistance = 0x7FFF - kInfinity;",
        "constexpr int16_t kDistance = 0x7FFF - kInfinity - 1;",
    ),
    lanes(
        "lanes-ties-away",
        "bfloat16 rounds ties away from zero",
        "return hn::Add(bits, hn::Add(last, hn::Set(d32, 0x7FFFu)));",
        "return hn::Add(bits, hn::Set(d32, 0x8000u));",
    ),
    lanes(
        "lanes-payload-of-slope",
        "a slope's NaN keeps its payload, whose lower half carries into the upper one when bfloat16 rounds",
        "std::isnan(slope) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(slope)",
        "static_cast<float>(slope)",
    ),
    lanes(
        "lanes-neighbour-left",
        "the lower of two 16-bit numbers is left in the lower half of the upper one",
        "hn::And(hn::BitCast(D32(), v), hn::Set(D32(), 0xFFFF0000u))",
        "hn::BitCast(D32(), v)",
    ),
    lanes(
        "lanes-clamp-of-minus-zero",
        "the lower limit is the upper one with the sign bit set instead of changed, which differs for a limit of -0",
        "hn::Max(hn::Neg(limit), v)",
        "hn::Max(hn::Or(hn::SignBit(D()), limit), v)",
    ),
    lanes(
        "lanes-nan-is-within",
        "!(|v| > limit) for |v| <= limit: NaN counts as within the clamp",
        "return hn::Eq(Clamp(v, limit), v);",
        "return hn::Not(hn::Gt(hn::Abs(v), limit));",
    ),
    lanes(
        "lanes-clamp-loses-nan",
        "max and min of x86 the other way round: NaN becomes the limit",
        "return hn::Min(limit, hn::Max(hn::Neg(limit), v));",
        "return hn::Min(hn::Max(v, hn::Neg(limit)), limit);",
    ),
    lanes(
        "lanes-float16-saturates",
        "what is too large for float16 becomes the largest number instead of infinity",
        "hn::Min(hn::ShiftRight<13>(rounded), hn::Set(d32, 0x7C00u))",
        "hn::Min(hn::ShiftRight<13>(rounded), hn::Set(d32, 0x7BFFu))",
    ),
    lanes(
        "lanes-float16-nan-to-infinity",
        "float16's NaN without the quiet bit: those with nothing in the upper bits of their payload become infinity",
        "hn::Or(hn::Set(d32, 0x7E00u), hn::And(",
        "hn::Or(hn::Set(d32, 0x7C00u), hn::And(",
        "equivalent: what is narrowed comes out of arithmetic, whose NaN have that bit",
    ),
    lanes(
        "lanes-float16-subnormals",
        "the largest of float16's subnormals are rounded as normal numbers",
        "hn::Set(di, 113 << 23)",
        "hn::Set(di, 112 << 23)",
    ),
    lanes(
        "lanes-clamp-at-the-limit",
        ">= for >: what is at the limit becomes the limit, which 0 at a limit of -0 is not",
        "hn::Gt(hn::Abs(v), limit), hn::Xor(",
        "hn::Ge(hn::Abs(v), limit), hn::Xor(",
    ),
]

kernels = of("src/kernels.cc", "kernels_test")
KERNELS = [
    kernels(
        "kernels-tail-twice-in-place",
        "the last vector that fits is done in place too, where some elements get scaled twice",
        "if (whole > 0 && !in_place) {",
        "if (whole > 0) {",
    ),
    kernels(
        "kernels-padding-counts",
        "behind a tail of less than a vector lie ones, and get bits",
        "hn::Store(hn::Zero(d), d, vector);",
        "hn::Store(hn::Set(d, 1), d, vector);",
    ),
    kernels(
        "kernels-mask-byte-too-many",
        "one byte too many of the mask where the tail ends with a byte",
        "const size_t mask_bytes = (rest + 7) / 8;",
        "const size_t mask_bytes = rest / 8 + 1;",
    ),
    kernels(
        "kernels-bits-of-the-wrong-vector",
        "in descending order vectors get the bits of those from the front",
        "At<mode>(out, i), word >> i, slope) << i;\n  }\n  return written;",
        "At<mode>(out, i), word >> done, slope) << i;\n  }\n  return written;",
    ),
    kernels(
        "kernels-mask-of-the-wrong-block",
        "in descending order blocks write their bits from the front",
        "if constexpr (kWritesMask<mode>) std::memcpy(mask + i / 8, &word, sizeof(word));",
        "if constexpr (kWritesMask<mode>) std::memcpy(mask + done / 8, &word, sizeof(word));",
    ),
    kernels(
        "kernels-tail-bits",
        "the tail's last vector reads the bits of its first",
        "written |= Vector<L, mode, Stores::kCached>(vector, vector, word >> whole, slope) << whole;",
        "written |= Vector<L, mode, Stores::kCached>(vector, vector, word, slope) << whole;",
    ),
    kernels(
        "kernels-shifted-carry",
        "streaming: the bits that reach into the next byte of the mask's end are lost",
        "const uint64_t last[] = {carry | word << head, word >> (kBlock - head)};",
        "const uint64_t last[] = {carry | word << head, 0};",
    ),
    kernels(
        "kernels-shifted-end",
        "streaming: two whole words are written at the mask's end, however short it is",
        "std::memcpy(mask + byte, last, mask_bytes - byte);",
        "std::memcpy(mask + byte, last, sizeof(last));",
    ),
    kernels(
        "kernels-shifted-reads-ahead",
        "streaming: the mask's next word is read whole, behind its end",
        "if (byte + sizeof(word) <= mask_bytes) {",
        "if (byte < mask_bytes) {",
    ),
    of("src/kernels.cc", "targets_test", "targets_misspelt_test", "tests/python/test_cli.py")(
        "kernels-empty-name",
        "LEAKYRELU_TARGET set to nothing counts as misspelt",
        "if (name == nullptr || *name == '\\0') return {supported.front(), nullptr};",
        "if (name == nullptr) return {supported.front(), nullptr};",
    ),
    kernels(
        "kernels-descends-farther",
        "descending order for any distance modulo a page",
        "return 0 < distance && distance < 512 && !some_cross_lines",
        "return 0 < distance && !some_cross_lines",
        "costs speed alone",
    ),
]

fused = of("src/fused-inl.h", "fused_kernels_test", "fused_test")
FUSED = [
    fused(
        "fused-no-bias-is-zero",
        "no bias is a bias of +0, which turns -0 into +0",
        "hn::Store(hn::SignBit(d), d, scratch_);",
        "hn::Store(hn::Zero(d), d, scratch_);",
    ),
    fused(
        "fused-run-ends-in-block",
        "a block in which a run of the bias ends has the bias of its beginning",
        "return i + elements <= end_ ? ",
        "return i < end_ ? ",
    ),
    fused(
        "fused-bias-begins-anew",
        "behind the last bias comes whatever lies behind it instead of the first",
        "if (++index == extent_) index = 0;",
        "++index;",
    ),
    fused(
        "fused-bias-phase",
        "bias_begin is forgotten where each element has its own bias",
        "return {bias_ + (i + begin_ - wrapped_), true};",
        "return {bias_ + (i - wrapped_), true};",
    ),
    fused(
        "fused-payload",
        "a NaN among the numbers keeps its payload, which carries when bfloat16 rounds",
        "return L::Wide::MakeSlope(std::isnan(number) ? std::numeric_limits<double>::quiet_NaN() : number);",
        "return L::Wide::MakeSlope(number);",
    ),
    fused(
        "fused-within-of-the-clamped",
        "the clamp's bits are asked of what it has clamped already",
        "*wide_within = Wide::IsWithin(v, limit);",
        "*wide_within = Wide::IsWithin(Wide::Clamp(v, limit), limit);",
    ),
    fused(
        "fused-times-zero",
        "where the clamp holds, dy is multiplied by 0 instead of dropped: infinity becomes NaN",
        "v = hn::IfThenElseZero(*wide_within, v);",
        "v = hn::Mul(v, hn::IfThenElseZero(*wide_within, L::Wide::MakeSlope(1)));",
    ),
    fused(
        "fused-unused-bits",
        "the unused bits of the mask's last byte are what padding gave",
        "const uint64_t own = (uint64_t{1} << (tail - whole)) - 1;",
        "const uint64_t own = ~uint64_t{0};",
    ),
    fused(
        "fused-tail-within",
        "the tail's last elements have the clamp's bits of its first",
        "{given.positive >> whole, given.within >> whole}",
        "{given.positive >> whole, given.within}",
    ),
]

plan = of("src/plan.cc", "plan_test", "fused_test", "driver_test", "api_test")
PLAN = [
    plan(
        "plan-empty-but-large",
        "an array with an extent of 0 is too large if the others are",
        "if (overflow && !empty) return",
        "if (overflow) return",
    ),
    plan(
        "plan-last-byte",
        "the last element's bytes but the first do not count",
        "!Add(high, layout->itemsize - 1, &high) || ",
        "",
    ),
    plan(
        "plan-below-zero",
        "an array may reach below address 0",
        "if (below > layout->address || above",
        "if (above",
    ),
    plan(
        "plan-row-around-the-end",
        "the last address and the first are neighbours",
        "|| above > std::numeric_limits<uintptr_t>::max() - layout->address) return",
        ") return",
    ),
    plan(
        "plan-distance-of-the-ends",
        "the ends of an array may be farther apart than int64_t counts",
        " || high > std::numeric_limits<int64_t>::max() + low) {",
        ") {",
    ),
    plan(
        "plan-merges-by-input",
        "loops are merged where the input allows it, whatever the output",
        "inner.in_stride * inner.extent && outer.out_stride == inner.out_stride * inner.extent;",
        "inner.in_stride * inner.extent;",
    ),
    plan(
        "plan-bias-in-c-order",
        "runs of the bias as if the visit were in C order",
        "c_order ? i > dim : plan.loops[i].out_stride < plan.loops[dim].out_stride;",
        "i > dim;",
    ),
    plan(
        "plan-bias-reversed",
        "the bias is reversed with the output even where the visit is in C order",
        "if (!c_order && out.strides[dim] < 0) return",
        "if (out.strides[dim] < 0) return",
    ),
    plan(
        "plan-upwards-with-mask",
        "a reversed output is walked upwards although the mask counts in C order",
        "if (!c_order && loop.out_stride < 0) {",
        "if (loop.out_stride < 0) {",
    ),
    plan(
        "plan-sorted-by-input",
        "the order of the visit is that of the input's memory, not of the output's",
        "return a.out_stride > b.out_stride; });",
        "return a.in_stride > b.in_stride; });",
    ),
    plan(
        "plan-same-whatever-the-strides",
        "arrays at one address with one shape are the same elements whatever their strides",
        " &&\n         std::equal(a.strides, a.strides + a.dims, b.strides, b.strides + b.dims);",
        ";",
    ),
]

overlap = of("src/overlap.cc", "overlap_test", "api_test")
OVERLAP = [
    overlap(
        "overlap-joins-with-gaps",
        "nested strides become one term even where their sums leave gaps",
        "terms_[i].coefficient % terms_[first].coefficient == 0 && ratio - 1 <= terms_[first].bound",
        "terms_[i].coefficient % terms_[first].coefficient == 0",
    ),
    overlap(
        "overlap-gives-up-with-no",
        "what takes too many steps does not overlap",
        "> kMaxOverlapSteps) return true;",
        "> kMaxOverlapSteps) return false;",
    ),
    overlap(
        "overlap-range-rounded-down",
        "the range of the first of two unknowns begins too low",
        "const uint64_t from = target > rest ? (target - rest + a - 1) / a : 0;",
        "const uint64_t from = target > rest ? (target - rest) / a : 0;",
    ),
    overlap(
        "overlap-last-of-the-range",
        "the last of the range is left out",
        "return from <= to && skip <= to - from;",
        "return from <= to && skip < to - from;",
    ),
    overlap(
        "overlap-sign-of-the-inverse",
        "an inverse that is negative is taken for positive",
        "return (is_negative ? m - x0 : x0) % m;",
        "return x0 % m;",
    ),
    overlap(
        "overlap-neighbours",
        "arrays share memory where one ends right before the other",
        "static_cast<uint64_t>(a.itemsize + b.itemsize - 2)",
        "static_cast<uint64_t>(a.itemsize + b.itemsize - 1)",
    ),
    overlap(
        "overlap-one-byte",
        "a single shared byte is not seen",
        "if (a.last_byte < b.first_byte || b.last_byte < a.first_byte) return false;",
        "if (a.last_byte <= b.first_byte || b.last_byte < a.first_byte) return false;",
    ),
    overlap(
        "overlap-repeats-in-reach",
        "an element that the smaller strides just reach is not one that repeats",
        "if (terms[k].coefficient <= reach) {",
        "if (terms[k].coefficient < reach) {",
    ),
    overlap(
        "overlap-repeats-one-way",
        "indices of one element differ upwards only",
        "equation.Add(terms[i].coefficient, 2 * terms[i].bound);",
        "equation.Add(terms[i].coefficient, terms[i].bound);",
    ),
]

check = of("src/check.cc", "api_test", "fused_test", "cuda_emulated_test")
CHECK = [
    check(
        "check-infinite-slope",
        "an infinite slope is too large",
        "std::isfinite(number) && std::fabs(number) > FLT_MAX",
        "std::fabs(number) > FLT_MAX",
    ),
    check(
        "check-largest-slope",
        "so is the largest float32",
        "std::fabs(number) > FLT_MAX",
        "std::fabs(number) >= FLT_MAX",
    ),
    check(
        "check-mask-in-dy",
        "a mask within dy is refused, though both are only read",
        "if ((direction == Direction::kForward && SharesMemory(layouts->in, mask_layout)) ||",
        "if (SharesMemory(layouts->in, mask_layout) ||",
    ),
    check(
        "check-empty-without-mask",
        "a backward of no elements must have a mask",
        "if (mask == nullptr && direction == Direction::kBackward && layouts->in.elements > 0) {",
        "if (mask == nullptr && direction == Direction::kBackward) {",
    ),
    check(
        "check-mask-one-longer",
        "the mask is taken for one byte longer",
        "layout.last_byte = layout.address + mask_bytes - 1;",
        "layout.last_byte = layout.address + mask_bytes;",
    ),
    check(
        "check-unknown-output",
        "an output of an unknown dtype is one of another dtype",
        "    if (DTypeIndex(out->dtype) >= kNumDTypes) return LEAKYRELU_ERROR_DTYPE;\n",
        "",
    ),
    check(
        "check-clamp-of-nan",
        "a clamp of NaN is let through",
        "if (!(fused->clamp >= 0) || ",
        "if (fused->clamp < 0 || ",
    ),
    check(
        "check-masks-over-another",
        "both masks of a fused forward may be one",
        "(SharesMemory(layouts.in, bits) || SharesMemory(MaskLayout(mask, mask_bytes), bits))",
        "SharesMemory(layouts.in, bits)",
    ),
    check(
        "check-dim-behind-the-last",
        "a bias may run along the dim behind the last",
        "fused.dim >= in->ndim) return",
        "fused.dim > in->ndim) return",
    ),
]

api = of("src/api.cc", "api_test", "fused_test", "c_test")
API = [
    api(
        "api-mask-over-a-row",
        "the short way for rows lets a mask over the input through",
        "(mask == nullptr || (Disjoint(in.data, bytes, mask, bits) && Disjoint(out->data, bytes, mask, bits)))",
        "(mask == nullptr || Disjoint(out->data, bytes, mask, bits))",
    ),
    api(
        "api-row-around-the-end",
        "the short way for rows lets an output through that goes on at address 0",
        "if (WrapAround(in.data, bytes) || WrapAround(out->data, bytes)) return",
        "if (WrapAround(in.data, bytes)) return",
    ),
    api(
        "api-row-without-mask",
        "the short way for rows takes a backward without a mask",
        " && (is_forward || mask != nullptr);",
        ";",
    ),
    api(
        "api-backward-with-bias",
        "a fused backward that is given a bias uses it",
        "const bool has_bias = is_forward && fused->bias != nullptr;",
        "const bool has_bias = fused->bias != nullptr;",
    ),
    api(
        "api-rows-of-other-lengths",
        "the short way for rows takes a shorter output",
        "if (elements != out->shape[0] || elements <= 0 || elements >= kTooMany) return false;",
        "if (elements <= 0 || elements >= kTooMany) return false;",
    ),
]

driver = of("src/driver.cc", "driver_test", "fused_test")
DRIVER = [
    driver(
        "driver-border-within-a-line",
        "tasks meet where the mask's lines would end if it began with one",
        "return std::min(border + bytes_to_line * 8, plan_.elements);",
        "return std::min(border, plan_.elements);",
    ),
    driver(
        "driver-chunks-within-bytes",
        "chunks may begin within a byte of the mask",
        "const int64_t unit = job_.mask != nullptr ? 8 : 1;",
        "const int64_t unit = 1;",
    ),
    driver(
        "driver-run-to-its-end",
        "a run is done to its end, where the mask's byte goes on",
        "const int64_t whole = begin + run == end ? run : run / unit * unit;",
        "const int64_t whole = run;",
    ),
    driver(
        "driver-stale-repeats",
        "the buffer of a repeated element is filled for the first run only, however long the next",
        "if (cursor.in_offset() != element || count > filled) {",
        "if (cursor.in_offset() != element || filled == 0) {",
    ),
    driver(
        "driver-across-runs",
        "what is contiguous within runs is read as if it were from first to last",
        "in_ == Contiguity::kWhole || (in_ == Contiguity::kRun && one_run);",
        "in_ != Contiguity::kNone;",
    ),
    driver(
        "driver-misaligned",
        "misaligned elements go to the kernel as they are",
        "if (loops[i].*stride != 1 || reinterpret_cast<uintptr_t>(data) % job_.itemsize != 0) return",
        "if (loops[i].*stride != 1) return",
    ),
    driver(
        "driver-part-within-a-byte",
        "where the buffer cannot hold all biases, a call may end within a byte of the mask",
        "part = (most * runs.run - in_run) / 8 * 8;",
        "part = most * runs.run - in_run;",
    ),
    driver(
        "driver-biases-not-again",
        "the first biases do not follow the last once more",
        "count += int64_t{kBiasesAgain};",
        "count += 0;",
    ),
    driver(
        "driver-streams-in-place",
        "stores go past the cache in place too",
        "streams_(job.in != job.out && plan.elements",
        "streams_(plan.elements",
        "costs speed alone",
    ),
]

threads = of("src/threads.cc", "threads_model_test", "pool_test", "processes_test", "threads_test")
THREADS = [
    threads(
        "threads-not-counted-in",
        "a worker takes its first task without counting itself in",
        "      ++s->inside;\n      return true;",
        "      return true;",
    ),
    threads(
        "threads-counted-in-afterwards",
        "a worker takes its first task in one step and counts itself in in the next",
        "      ++s->inside;\n      return true;\n    };\n    if (!Step(call, &state, come_in)) return;",
        "      return true;\n    };\n    if (!Step(call, &state, come_in)) return;\n"
        "    State now;\n    Step(call, &now, [](State* s) { return ++s->inside, true; });",
    ),
    threads(
        "threads-place-not-taken",
        "a worker does not take one of the places: more threads than the call may have",
        "      --s->places;\n",
        "",
    ),
    threads(
        "threads-no-place-left",
        "a worker does not ask whether there is a place left",
        "if (s->front == s->back || s->places == 0) return false;\n      --s->back;",
        "if (s->front == s->back) return false;\n      --s->back;",
    ),
    threads(
        "threads-caller-takes-in-two-steps",
        "the caller takes a task in two steps: a load and a store",
        "for (; Step(call, &state, take_front); ++own)",
        "const auto take = [&] {\n"
        "      state = call->state.load(std::memory_order_acquire);\n"
        "      if (!take_front(&state)) return false;\n"
        "      call->state.store(state, std::memory_order_release);\n"
        "      return true;\n"
        "    };\n"
        "    for (; take(); ++own)",
    ),
    threads(
        "threads-worker-leaves-in-two-steps",
        "a worker looks in one step whether a task is left, and takes it or counts itself out in the next",
        "      Step(call, &state, [&is_inside](State* s) {\n        is_inside = s->front < s->back;\n",
        "      state = call->state.load(std::memory_order_acquire);\n"
        "      is_inside = state.front < state.back;\n"
        "      Step(call, &state, [&is_inside](State* s) {\n",
    ),
    threads(
        "threads-last-does-not-wake",
        "the last worker inside does not wake its caller",
        "      call->wake_ups.notify_one();\n",
        "",
    ),
    threads(
        "threads-wakes-without-a-change",
        "the last worker inside wakes its caller, which sees no change and sleeps on",
        "      call->wake_ups.fetch_add(1, std::memory_order_release);\n",
        "",
    ),
    threads(
        "threads-sleeps-though-all-are-out",
        "the caller sleeps without a look whether somebody is inside",
        "      return s->inside > 0;\n",
        "      return true;\n",
    ),
    threads(
        "threads-caller-looks-late",
        "the caller reads the number of wake-ups behind saying that it sleeps, and misses one",
        "    if (Step(call, &state, sleep)) call->wake_ups.wait(seen, std::memory_order_acquire);\n",
        "    if (Step(call, &state, sleep)) {\n"
        "      call->wake_ups.wait(call->wake_ups.load(std::memory_order_acquire), std::memory_order_acquire);\n"
        "    }\n",
    ),
    threads(
        "threads-worker-looks-late",
        "a worker reads `announced` behind its look through the calls, and misses one",
        "      const int32_t seen = announced_.load(std::memory_order_acquire);\n"
        "      for (Call& call : calls_) Help(&call);\n",
        "      for (Call& call : calls_) Help(&call);\n"
        "      const int32_t seen = announced_.load(std::memory_order_acquire);\n",
    ),
    threads(
        "threads-announced-too-early",
        "a call is announced before it can be seen",
        "    call->state.store({1, static_cast<uint16_t>(tasks), 0, static_cast<uint16_t>(threads - 1)},\n"
        "                      std::memory_order_release);\n"
        "    announced_.fetch_add(1, std::memory_order_release);\n"
        "    announced_.notify_one();\n",
        "    announced_.fetch_add(1, std::memory_order_release);\n"
        "    announced_.notify_one();\n"
        "    call->state.store({1, static_cast<uint16_t>(tasks), 0, static_cast<uint16_t>(threads - 1)},\n"
        "                      std::memory_order_release);\n",
    ),
    threads(
        "threads-seen-before-its-task",
        "a call can be seen before its function and argument are there",
        "    call->task = task;\n"
        "    call->work = work;\n"
        "    call->state.store({1, static_cast<uint16_t>(tasks), 0, static_cast<uint16_t>(threads - 1)},\n"
        "                      std::memory_order_release);\n"
        "    announced_.fetch_add(1, std::memory_order_release);\n",
        "    call->state.store({1, static_cast<uint16_t>(tasks), 0, static_cast<uint16_t>(threads - 1)},\n"
        "                      std::memory_order_release);\n"
        "    announced_.fetch_add(1, std::memory_order_release);\n"
        "    call->task = task;\n"
        "    call->work = work;\n",
    ),
    threads(
        "threads-wakes-nobody",
        "a call wakes no worker",
        "    announced_.notify_one();\n\n",
        "\n",
    ),
    threads(
        "threads-announces-nothing",
        "a call wakes a worker without changing `announced`: it sleeps on",
        "    announced_.fetch_add(1, std::memory_order_release);\n",
        "",
    ),
    of("src/threads.cc", "pool_test", "threads_model_test")(
        "threads-next-not-woken",
        "a worker that sees more tasks does not wake the next worker",
        "    if (state.front < state.back && state.places > 0) announced_.notify_one();\n",
        "",
    ),
    threads(
        "threads-returns-one-early",
        "the caller waits for all workers inside but the last",
        "    if (state.inside > 0) {\n",
        "    if (state.inside > 1) {\n",
    ),
    threads(
        "threads-given-back-early",
        "a call's place in the pool is free before its workers are out",
        "    if (state.inside > 0) {\n",
        "    call->is_used.store(false, std::memory_order_release);\n    if (state.inside > 0) {\n",
    ),
    threads(
        "threads-place-for-two-callers",
        "a place in the pool is looked at in one step and taken in the next, by two callers",
        "!call.is_used.exchange(true, std::memory_order_acquire)) {\n        return &call;",
        "true) {\n        call.is_used.store(true, std::memory_order_relaxed);\n        return &call;",
    ),
    threads(
        "threads-refused-counts",
        "a worker that the system has refused stays counted, and is never asked for again",
        "        workers_.fetch_sub(1, std::memory_order_relaxed);\n",
        "",
    ),
    threads(
        "threads-refused-asks-on",
        "the system is asked for the refused worker again at once, and again",
        "        refused_until_.store((now + kRefused).time_since_epoch(), std::memory_order_relaxed);\n",
        "",
    ),
    threads(
        "threads-held-up-forgotten",
        "that its workers have held a call up is not noted",
        "      held_up_.Note(start, end, alone);\n",
        "",
    ),
    threads(
        "threads-woken-for-little",
        "short calls wake threads that sleep",
        "(!wakes && ",
        "(false && ",
    ),
    threads(
        "threads-never-for-little",
        "short calls go alone even right after another",
        "(!wakes && start.time_since_epoch() - last_end_.load(std::memory_order_relaxed) > kSpin)",
        "!wakes",
    ),
    threads(
        "threads-forked",
        "a child of fork() keeps its parent's pool",
        "AtForkInChild([] { pool.store(nullptr, std::memory_order_relaxed); })",
        "AtForkInChild([] {})",
    ),
    threads(
        "threads-too-many-tasks",
        "more tasks than 16 bits count go to the pool",
        "split.threads > 1 && split.tasks <= kMaxTasks ? ThePool() : nullptr;",
        "split.threads > 1 ? ThePool() : nullptr;",
    ),
]

held_up = of("src/held_up.h", "pool_test")
HELD_UP = [
    held_up(
        "held-up-pauses-alike",
        "no pause is longer than the one before",
        "served_.load(kRelaxed) < last ? 2 * last : Clock::duration::zero()",
        "Clock::duration::zero()",
    ),
    held_up(
        "held-up-always-longer",
        "pauses grow even if threads have served for long",
        "served_.load(kRelaxed) < last ? ",
        "last > Clock::duration::zero() ? ",
    ),
    held_up(
        "held-up-serves-for-good",
        "what threads have served before a pause counts after it too",
        "      served_.store(Clock::duration::zero(), kRelaxed);\n",
        "",
    ),
    held_up(
        "held-up-noted-twice",
        "a call that ran beside the one that was noted doubles the pause",
        "} else if (start.time_since_epoch() >= until_.load(kRelaxed)) {  // else another call has met the same",
        "} else {",
    ),
]

memory = of("src/memory.cc", "memory_test", "no_memory_test")
MEMORY = [
    memory(
        "memory-of-equals-the-oldest",
        "of buffers of one size the one freed first is taken",
        "size < (*best)->bytes)) best = link;",
        "size <= (*best)->bytes)) best = link;",
    ),
    memory(
        "memory-just-fits",
        "a buffer that just fits is not kept",
        "if (bytes > room - cached) break;",
        "if (bytes >= room - cached) break;",
    ),
    memory(
        "memory-more-than-before",
        "what is kept and in use may be more than was in use before",
        "Trim(std::min({limit, peak - in_use, kKeptOfLargest * largest}))",
        "Trim(std::min(limit, kKeptOfLargest * largest))",
    ),
    memory(
        "memory-peak-remembered",
        "an emptied cache remembers how much was in use",
        "  cache.peak = cache.in_use;\n",
        "",
    ),
    of("src/memory.cc", "tests/python/test_memory.py")(
        "memory-limit-with-unit",
        "LEAKYRELU_CACHE_LIMIT=64M is 64 bytes",
        "if (rest == end && error == std::errc() && bytes >= 0) return bytes;",
        "if (error == std::errc() && bytes >= 0) return bytes;",
    ),
    memory(
        "memory-in-use-by-request",
        "a buffer counts as in use by what was asked for, and as freed by what it is",
        "const auto taken = static_cast<int64_t>(buffer->bytes);",
        "const auto taken = static_cast<int64_t>(bytes);",
    ),
    memory(
        "memory-too-large",
        "the most bytes that there can be are rounded up to none",
        "  if (bytes > PTRDIFF_MAX - 2 * kHugePage) return nullptr;\n",
        "",
    ),
]

CUDA = [
    of("src/cuda/contiguous.h", "cuda_emulated_test")(
        "cuda-first-unit",
        "the first unit of a shifted array begins before it",
        "return {unit == 0 ? static_cast<uint32_t>(shift) : 0, left",
        "return {0, left",
    ),
    of("src/cuda/contiguous.h", "cuda_emulated_test")(
        "cuda-first-tile",
        "the first tile of a shifted array counts as whole",
        "const bool whole = (shift == 0 || tile > 0) && (first",
        "const bool whole = (first",
    ),
    of("src/cuda/contiguous.h", "cuda_emulated_test")(
        "cuda-mask-of-the-next-unit",
        "with a shift a unit's last bits are taken from its own byte instead of the one before",
        "bits |= operation.Bits(unit - 1) >> (kUnit - shift);",
        "bits |= operation.Bits(unit) >> (kUnit - shift);",
    ),
    of("src/cuda/strided.h", "cuda_emulated_test")(
        "cuda-unit-across-runs",
        "a unit lies within one run wherever runs are long enough",
        "const bool one_run = count == kUnit && length - column >= kUnit;",
        "const bool one_run = count == kUnit && length >= kUnit;",
    ),
    of("src/cuda/strided.h", "cuda_emulated_test")(
        "cuda-runs-do-not-end",
        "the column is not set back where a run ends",
        "        column = 0;\n        start",
        "        start",
    ),
    of("src/cuda/divider.h", "cuda_emulated_test")(
        "cuda-divider-rounded-down",
        "the divider's factor is rounded down",
        "    ++factor_;\n",
        "",
    ),
    of("src/cuda/biases.h", "cuda_emulated_test")(
        "cuda-bias-begins-anew",
        "behind the last bias comes whatever lies behind it instead of the first",
        "if (++bias == extent.divisor()) bias = 0;",
        "++bias;",
    ),
    of("src/cuda/biases.h", "cuda_emulated_test")(
        "cuda-bias-misaligned",
        "biases are loaded as vectors wherever they lie",
        "extent.divisor() - bias >= kUnit && IsAligned(first + bias)) {",
        "extent.divisor() - bias >= kUnit) {",
    ),
    of("src/cuda/launch.h", "cuda_emulated_test")(
        "cuda-reach-of-the-bias",
        "whether 32 bits do is not asked of the bias",
        "return std::max({plan.elements, in_reach, out_reach, bias_reach}) <= kLargest;",
        "return std::max({plan.elements, in_reach, out_reach, int64_t{0} * bias_reach}) <= kLargest;",
    ),
    of("src/cuda/operations.h", "cuda_emulated_test")(
        "cuda-no-clamp-holds-all",
        "without bits of a clamp it holds every element",
        "within != nullptr ? within[k] : 0xFF;",
        "within != nullptr ? within[k] : 0;",
    ),
    of("src/cuda/operations.h", "cuda_emulated_test")(
        "cuda-unused-bits",
        "the unused bits of the mask's last byte are what nothing gave",
        "      if (i < count) {  // no bits for what is not there\n",
        "      {\n",
    ),
    of("src/cuda/api.cc", "cuda_emulated_test")(
        "cuda-misaligned-bias",
        "a misaligned bias is let through",
        " || !IsAligned(bias)) return",
        ") return",
    ),
]

arrays = of(
    "bindings/array/array.cc",
    "tests/python/test_bad_calls.py",
    "tests/python/test_array.py",
    "tests/python/test_dlpack.py",
    "tests/python/test_memory.py",
)
ARRAYS = [
    arrays(
        "arrays-stride-of-one",
        "the strides of extents of 1, which NumPy leaves as they are, must be multiples too",
        "own_shape_[i] != 1 ? PyArray_STRIDES(array)[i] : item_size;",
        "PyArray_STRIDES(array)[i];",
    ),
    arrays(
        "arrays-read-only",
        "a read-only NumPy array is written to",
        "  if (writable && !PyArray_ISWRITEABLE(AsNumpy(owner_))) Raise(PyExc_ValueError, kReadOnly, name_);\n",
        "",
    ),
    arrays(
        "arrays-order-of-the-sparse",
        "a fresh output has the input's strides even where those leave gaps or repeat",
        "input.strides_ != nullptr && input.elements() != 0 && input.IsDense();",
        "input.strides_ != nullptr && input.elements() != 0;",
    ),
    arrays(
        "arrays-old-dlpack",
        "memory is written to of which DLPack before 1.0 cannot say that it may be",
        "offer.tells_writable ? offer.is_writable : place.is_cupy()",
        "offer.tells_writable ? offer.is_writable : true",
    ),
    of("bindings/array/dlpack.cc", "tests/python/test_dlpack.py")(
        "arrays-next-dlpack",
        "a capsule of DLPack 2 is read as version 1",
        "if (versioned->major != nb::dlpack::major_version) {",
        "if (versioned->major < nb::dlpack::major_version) {",
    ),
    arrays(
        "arrays-byte-order",
        "big-endian numbers are read as little-endian ones",
        "  if (!PyArray_ISNBO(descriptor->byteorder)) return {};\n",
        "",
    ),
    of("bindings/array/array.cc", "tests/python/test_dlpack.py")(
        "arrays-mask-of-one-byte",
        "a mask of one byte must have a stride of 1",
        "if (strides_ != nullptr && strides_[0] != 1 && shape_[0] > 1) {",
        "if (strides_ != nullptr && strides_[0] != 1) {",
    ),
    arrays(
        "arrays-looked-at-once",
        "an array that Python code changes while another is opened is used as it was",
        "  if (is_numpy_) ReadNumpy();\n",
        "",
    ),
]

module = of("bindings/array/module.cc", "tests/python/test_bad_calls.py", "tests/python/test_array.py")
MODULE = [
    module(
        "module-numpys-bool",
        "NumPy's bool passes for a slope",
        "if (PyBool_Check(value.ptr()) || IsNumpyBool(value)) {",
        "if (PyBool_Check(value.ptr())) {",
    ),
    of("bindings/array/module.cc", "tests/python/test_dlpack.py")(
        "module-mask-looked-at-once",
        "a mask that Python code changes while the output is opened is used as it was",
        "  bits.View();\n  bits.RequireMask();",
        "  bits.RequireMask();",
    ),
]

AUTOGRAD = ("tests/torch/test_autograd.py", "tests/torch/test_saved.py", "tests/torch/test_other_tensors.py")
node = of("bindings/torch/ops.cc", *AUTOGRAD, "tests/torch/test_ops.py")
NODE = [
    node(
        "node-version-first",
        "in place the version changes before the node is made, and views lose it",
        "  auto node = MakeNode(input, slope, order);\n  Forward(input, input, slope, mask, order);\n",
        "  ag::increment_version(input);\n  auto node = MakeNode(input, slope, order);\n"
        "  Forward(input, input, slope, mask, order);\n",
    ),
    node(
        "node-mask-not-released",
        "the mask is kept behind the backward, which may run a second time",
        "    mask_.reset_data();\n",
        "",
    ),
    node(
        "node-layout-of-the-gradient",
        "the gradient is laid out as the one that arrives, not as the input",
        "return EagerBackward(grad, mask, EmptyInOrder(grad, order), slope, order);",
        "return EagerBackward(grad, mask, EmptyLike(grad), slope, order);",
    ),
    node(
        "node-tangent-lost",
        "forward mode: a gradient's tangent is lost",
        "mask.device() == grad.device() && !HasTangent(grad);",
        "mask.device() == grad.device();",
    ),
    node(
        "node-in-place-on-repeats",
        "an element that a view repeats is written to several times",
        "!input.is_inference() && !MayRepeatElement(input);",
        "!input.is_inference();",
    ),
    node(
        "node-not-differentiable",
        "the gradient has no history of its own",
        "  if (ag::compute_requires_grad(grad)) SetHistory(result, grad, mask, slope, order);\n",
        "",
    ),
]

torch_fused = of("bindings/torch/fused.cc", "tests/torch/test_fused.py")
TORCH_FUSED = [
    torch_fused(
        "torch-fused-bias-alone",
        "a bias that alone requires a gradient gets none",
        "const bool requires_grad = ag::compute_requires_grad(input, bias);",
        "const bool requires_grad = ag::compute_requires_grad(input);",
    ),
    torch_fused(
        "torch-fused-infinite-clamp",
        "an infinite clamp goes to the core, which takes it for none",
        "(bias.defined() && !CanTake(bias)) || (clamp && std::isinf(*clamp))) {",
        "(bias.defined() && !CanTake(bias))) {",
    ),
    torch_fused(
        "torch-fused-sign-of-the-scale",
        "a scale below float32's range becomes +infinity",
        "scale = std::copysign(std::numeric_limits<double>::infinity(), scale);",
        "scale = std::numeric_limits<double>::infinity();",
    ),
    torch_fused(
        "torch-fused-within-not-released",
        "the clamp's bits are kept behind the backward",
        "    within_.reset_data();\n",
        "",
    ),
]

traced = of("python/leakyrelu/_torch_traced.py", "tests/torch/test_compiled_bytes.py")
TRACED = [
    traced(
        "traced-small-scale",
        "a scale that makes 0 of what is greater: the result does not tell the sign",
        "and 1 <= scale < math.inf",
        "and 0 <= scale < math.inf",
    ),
    traced(
        "traced-infinite-slope",
        "what a clamp has stopped is taken times infinity",
        "and negative_slope < math.inf",
        "and negative_slope <= math.inf",
    ),
    traced(
        "traced-dual",
        "a tensor with a tangent goes to a function that knows of none",
        "        and forward_ad._current_level < 0\n",
        "",
    ),
    traced(
        "traced-transforms",
        "a functional transform sees a function of our own",
        "        and not torch._C._are_functorch_transforms_active()\n",
        "",
    ),
    traced(
        "traced-once",
        "the gradient has no history of its own",
        "with torch.enable_grad():",
        "with torch.no_grad():",
    ),
    traced(
        "traced-exclusive-bound",
        "what is exactly at the clamp's bound is stopped",
        "within.append((v >= -clamp) & (v <= clamp))",
        "within.append((v > -clamp) & (v < clamp))",
    ),
]

TORCH_COMPUTE = [
    of("bindings/torch/compute.cc", "tests/torch/test_workers.py")(
        "torch-forked",
        "a child of fork() waits for torch's threads, which it does not have",
        "is_forked.load(std::memory_order_relaxed) || by_torchs",
        "by_torchs",
    ),
    of("bindings/torch/compute.cc", *AUTOGRAD)(
        "torch-order-of-memory",
        "the mask's order is that of the shortest strides first",
        "return strides[static_cast<size_t>(a)] > strides[static_cast<size_t>(b)];",
        "return strides[static_cast<size_t>(a)] < strides[static_cast<size_t>(b)];",
    ),
]

files = of("python/leakyrelu/_apply.py", "tests/python/test_cli.py")
FILES = [
    files(
        "apply-chunks-within-bytes",
        "chunks of a file end within a byte of the mask",
        "CHUNK_BYTES = 4 << 20 ",
        "CHUNK_BYTES = (4 << 20) - 8 ",
    ),
    files(
        "apply-one-by-one",
        "the first target is replaced before the second is complete",
        "                os.fsync(file.fileno())\n"
        "        for new, final in zip(created, finals, strict=True):\n"
        "            new.replace(final)\n",
        "                os.fsync(file.fileno())\n"
        "                created[files.index(file)].replace(finals[files.index(file)])\n",
    ),
    files(
        "apply-readable-meanwhile",
        "a file that is to replace a private one can be read by others meanwhile",
        "permissions = 0o666 if mode is None else 0o600",
        "permissions = 0o666",
    ),
    files(
        "apply-byte-order",
        "a big-endian file's numbers are written as little-endian ones",
        "                if dtype != native:\n                    x.byteswap(inplace=True)\n                output",
        "                output",
    ),
]

drop_in = of("python/leakyrelu/torch.py", "tests/torch/test_drop_in.py")
DROP_IN = [
    drop_in(
        "convert-subclasses",
        "subclasses of LeakyReLU are converted too",
        "if type(module) is nn.LeakyReLU:",
        "if isinstance(module, nn.LeakyReLU):",
    ),
    drop_in(
        "patched-others",
        "leaving one with block undoes what an outer one has replaced",
        "if not any(key in others for others in _patches):",
        "if key in _before:",
    ),
    of("python/leakyrelu/_torch_traced.py", "tests/torch/test_compilers.py")(
        "traced-negative-slope",
        "torch.compile traces the operator whose backward sees the result for negative slopes too",
        "        and negative_slope >= 0\n",
        "",
    ),
]

IN_PYTHON = "-p torch_in_python tests/torch/test_autograd.py", "-p torch_in_python tests/torch/test_other_tensors.py"
in_python = of("python/leakyrelu/_torch_in_python.py", *IN_PYTHON, "-p torch_in_python tests/torch/test_fused.py")
TORCH_IN_PYTHON = [
    in_python(
        "in-python-version",
        "in place the tensor's version does not change",
        "    torch.autograd.graph.increment_version(input)\n",
        "",
    ),
    in_python(
        "in-python-not-dirty",
        "in place autograd is not told that the input has changed",
        "        if output is input:\n            ctx.mark_dirty(input)\n",
        "",
    ),
    in_python(
        "in-python-nan-is-within",
        "not outside for within: NaN counts as within the clamp",
        "_packed(((v >= -clamp) & (v <= clamp)).permute(order))",
        "_packed((~((v < -clamp) | (v > clamp))).permute(order))",
    ),
]

MUTATIONS = [
    *FORMULA,
    *LANES,
    *KERNELS,
    *FUSED,
    *PLAN,
    *OVERLAP,
    *CHECK,
    *API,
    *DRIVER,
    *THREADS,
    *HELD_UP,
    *MEMORY,
    *CUDA,
    *ARRAYS,
    *MODULE,
    *NODE,
    *TORCH_FUSED,
    *TRACED,
    *TORCH_COMPUTE,
    *FILES,
    *DROP_IN,
    *TORCH_IN_PYTHON,
]
