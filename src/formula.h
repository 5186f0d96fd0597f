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
// The fused operation puts a bias before it, and a scale and a clamp after it:
//
//   t = x + bias    v = leaky_relu(t) * scale    y = clamp(v, -limit, limit)
//   h = (|v| <= limit ? dy : 0) * scale          dx = t > 0 ? h : h * slope
//
// Each step is rounded, as if it were an operation of its own; so `lanes` are those that compute, float32 or float64,
// and have also
//   lanes.Add(a, b)                 a + b
//   lanes.Positive(t)               t > 0; false for both zeros and NaN
//   lanes.Clamp(v, limit)           v, but the limit of its sign where it is beyond it; NaN stays
//   lanes.IsWithin(v, limit)        |v| <= limit; false for NaN
//
// No include guard and no namespace on purpose: a kernel file includes this once for each instruction set, inside its
// own namespace, so that it is compiled with the attributes of that instruction set.
template <class Lanes, class V, class Positive, class Slope>
LEAKYRELU_INLINE V LeakyReluFormula(Lanes lanes, V v, Positive x_positive, Slope slope) {
  return lanes.Select(x_positive, v, lanes.Scale(v, slope));
}

// The result before the clamp; `positive` is set to t > 0.
template <class Lanes, class V, class Positive>
LEAKYRELU_INLINE V FusedFormula(Lanes lanes, V x, V bias, V slope, V scale, Positive* positive) {
  const V t = lanes.Add(x, bias);
  *positive = lanes.Positive(t);
  return lanes.Scale(LeakyReluFormula(lanes, t, *positive, slope), scale);
}

// `v` is dy, or 0 where the clamp holds the result.
template <class Lanes, class V, class Positive>
LEAKYRELU_INLINE V FusedGradient(Lanes lanes, V v, Positive positive, V slope, V scale) {
  return LeakyReluFormula(lanes, lanes.Scale(v, scale), positive, slope);
}
