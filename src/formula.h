// The formula and its gradient, written once for every kind of lane: one number or a SIMD vector of them.
//
//   y  = x > 0 ? x  : x  * slope
//   dx = x > 0 ? dy : dy * slope
//
// are the same function of (v, x > 0) with v = x or v = dy, so one template is both. It is linear in v, hence also the
// gradient of the gradient. Never max(x, s * x), never max(0, x) + s * min(0, x), never the sign bit: each loses NaN, a
// signed zero or a slope outside [0, 1].
//
// `lanes` says how a dtype is scaled and selected:
//   lanes.Scale(v, slope)     v * slope, rounded once to the dtype
//   lanes.Select(mask, a, b)  mask ? a : b
//
// No include guard and no namespace on purpose: a kernel file includes this once for each instruction set, inside its
// own namespace, so that it is compiled with the attributes of that instruction set.
template <class Lanes, class V, class Positive, class Slope>
LEAKYRELU_INLINE V LeakyReluFormula(Lanes lanes, V v, Positive x_positive, Slope slope) {
  return lanes.Select(x_positive, v, lanes.Scale(v, slope));
}
