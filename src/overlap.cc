// Overlap as a bounded linear equation: is there t with sum(coefficient_i * t_i) == target, 0 <= t_i <= bound_i?

#include "overlap.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "checked.h"

namespace leakyrelu {
namespace {

struct Term {
  uint64_t coefficient;  // positive
  uint64_t bound;
};

// Up to two layouts' dims and one term for the width of an element.
class Equation {
 public:
  void Add(uint64_t coefficient, uint64_t bound) {
    if (bound > 0) terms_[size_++] = {coefficient, bound};
  }

  // The sums of all terms must fit uint64_t.
  bool HasSolution(uint64_t target) {
    std::sort(terms_, terms_ + size_, [](const Term& a, const Term& b) { return a.coefficient > b.coefficient; });
    // From the smallest up: a coefficient that is a multiple of the next smaller one joins it where the sums leave no
    // gap, as in 16 t + 8 u with u up to 1 or more, which reaches every multiple of 8. So strides that nest are one
    // term, and so are equal ones.
    int first = std::max(size_ - 1, 0);
    for (int i = size_ - 2; i >= 0; --i) {
      const uint64_t ratio = terms_[i].coefficient / terms_[first].coefficient;
      if (terms_[i].coefficient % terms_[first].coefficient == 0 && ratio - 1 <= terms_[first].bound) {
        terms_[first].bound += ratio * terms_[i].bound;
      } else {
        terms_[--first] = terms_[i];
      }
    }
    std::copy(terms_ + first, terms_ + size_, terms_);
    size_ -= first;
    largest_[size_] = 0;
    divisor_[size_] = 0;
    for (int i = size_ - 1; i >= 0; --i) {
      largest_[i] = largest_[i + 1] + terms_[i].coefficient * terms_[i].bound;
      divisor_[i] = std::gcd(divisor_[i + 1], terms_[i].coefficient);
    }
    steps_ = 0;
    return Search(0, target);
  }

 private:
  // Solves for the terms from i on. Recursion is as deep as there are terms.
  bool Search(int i, uint64_t target) {
    if (++steps_ > kMaxOverlapSteps) return true;
    if (target > largest_[i]) return false;
    if (target == 0) return true;
    if (target % divisor_[i] != 0) return false;  // target > 0 and <= largest_[i]: there is a term, divisor_[i] > 0
    if (i == size_ - 1) return true;
    if (i == size_ - 2) return SolveTwo(terms_[i], terms_[i + 1], target, divisor_[i]);

    const Term& term = terms_[i];
    const uint64_t rest = largest_[i + 1];
    const uint64_t from = target > rest ? (target - rest + term.coefficient - 1) / term.coefficient : 0;
    const uint64_t to = std::min(term.bound, target / term.coefficient);
    for (uint64_t t = from; t <= to; ++t) {
      if (Search(i + 1, target - t * term.coefficient)) return true;
    }
    return false;
  }

  // a * t + b * u == target in one go; `divisor` = gcd(a, b) divides target.
  static bool SolveTwo(const Term& term_a, const Term& term_b, uint64_t target, uint64_t divisor) {
    const uint64_t a = term_a.coefficient / divisor;
    const uint64_t b = term_b.coefficient / divisor;
    target /= divisor;
    // u in [0, bound] gives t a range, and target - a * t divisible by b gives its residue modulo b.
    const uint64_t rest = b * term_b.bound;
    const uint64_t from = target > rest ? (target - rest + a - 1) / a : 0;
    const uint64_t to = std::min(term_a.bound, target / a);
    const uint64_t residue = MultiplyModulo(target % b, Inverse(a % b, b), b);
    const uint64_t skip = (residue + b - from % b) % b;  // from `from` to the first t of that residue
    return from <= to && skip <= to - from;
  }

  // x below m with a * x == 1 modulo m, for a and m without a common divisor (extended Euclid: r0 == a * x0 modulo m,
  // with the coefficients' signs in turn and their magnitudes never above m).
  static uint64_t Inverse(uint64_t a, uint64_t m) {
    uint64_t r0 = m, r1 = a;
    uint64_t x0 = 0, x1 = 1;
    bool is_negative = true;  // x0
    for (; r1 != 0; is_negative = !is_negative) {
      const uint64_t quotient = r0 / r1;
      r0 = std::exchange(r1, r0 - quotient * r1);
      x0 = std::exchange(x1, x0 + quotient * x1);
    }
    return (is_negative ? m - x0 : x0) % m;
  }

  int size_ = 0;
  int64_t steps_ = 0;
  Term terms_[2 * kMaxDims + 1];
  uint64_t largest_[2 * kMaxDims + 2];  // of the sum of the terms from i on
  uint64_t divisor_[2 * kMaxDims + 2];  // their greatest common one
};

uint64_t Magnitude(int64_t stride) { return static_cast<uint64_t>(stride < 0 ? -stride : stride); }

}  // namespace

bool SharesMemory(const Layout& a, const Layout& b) {
  if (a.elements == 0 || b.elements == 0) return false;
  if (a.last_byte < b.first_byte || b.last_byte < a.first_byte) return false;

  // An element of a begins at a.first_byte + sum(|stride| * t), one of b ends at b.last_byte - sum(|stride| * t). They
  // share a byte if the end lies at most itemsize_a + itemsize_b - 2 bytes behind the beginning.
  Equation equation;
  for (const Layout* layout : {&a, &b}) {
    for (int i = 0; i < layout->dims; ++i) {
      const uint64_t stride = Magnitude(layout->strides[i]);
      if (stride != 0) {
        equation.Add(stride * static_cast<uint64_t>(layout->itemsize), static_cast<uint64_t>(layout->extents[i] - 1));
      }
    }
  }
  equation.Add(1, static_cast<uint64_t>(a.itemsize + b.itemsize - 2));
  return equation.HasSolution(b.last_byte - a.first_byte);
}

bool RepeatsElement(const Layout& a) {
  Term terms[kMaxDims];
  for (int i = 0; i < a.dims; ++i) {
    if (a.strides[i] == 0) return true;
    terms[i] = {Magnitude(a.strides[i]), static_cast<uint64_t>(a.extents[i] - 1)};
  }
  std::sort(terms, terms + a.dims, [](const Term& s, const Term& t) { return s.coefficient < t.coefficient; });

  // Two indices of one element differ by d with sum(stride * d) == 0. Let k be the largest stride whose d is not 0, and
  // d_k >= 1: then the smaller strides must make up for it, with each d_i in [-bound_i, bound_i].
  uint64_t reach = 0;  // sum(stride * bound) of the smaller strides
  for (int k = 0; k < a.dims; ++k) {
    if (terms[k].coefficient <= reach) {
      Equation equation;
      equation.Add(terms[k].coefficient, terms[k].bound - 1);
      for (int i = 0; i < k; ++i) equation.Add(terms[i].coefficient, 2 * terms[i].bound);
      if (equation.HasSolution(reach - terms[k].coefficient)) return true;
    }
    reach += terms[k].coefficient * terms[k].bound;
  }
  return false;
}

}  // namespace leakyrelu
