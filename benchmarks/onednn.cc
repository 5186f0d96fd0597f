// oneDNN's eltwise_relu, forward and backward, on memory that stays where it is.

#include <dnnl.hpp>
#include <optional>
#include <unordered_map>

#include "native.h"

namespace {

using dnnl::memory;

Call* Prepare(const dnnl::primitive& primitive, const dnnl::engine& engine,
              const std::unordered_map<int, memory>& arguments) {
  return MakeCall([primitive, stream = dnnl::stream(engine), arguments]() mutable {
    primitive.execute(stream, arguments);
    stream.wait();
  });
}

std::optional<memory::data_type> DataType(leakyrelu_dtype dtype) {
  switch (dtype) {
    case LEAKYRELU_FLOAT16:
      return memory::data_type::f16;
    case LEAKYRELU_BFLOAT16:
      return memory::data_type::bf16;
    case LEAKYRELU_FLOAT32:
      return memory::data_type::f32;
    default:
      return std::nullopt;
  }
}

}  // namespace

Call* onednn(leakyrelu_dtype dtype, std::size_t elements, const void* x, const void* dy, void* out,
             float negative_slope) try {
  const std::optional<memory::data_type> type = DataType(dtype);
  if (!type) return nullptr;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const memory::desc array({static_cast<memory::dim>(elements)}, *type, memory::format_tag::a);
  const auto view = [&](const void* data) { return memory(array, engine, const_cast<void*>(data)); };
  const auto algorithm = dnnl::algorithm::eltwise_relu;
  const dnnl::eltwise_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, algorithm, array, negative_slope}, engine);
  if (dy == nullptr) {
    return Prepare(dnnl::eltwise_forward(forward), engine, {{DNNL_ARG_SRC, view(x)}, {DNNL_ARG_DST, view(out)}});
  }
  const dnnl::eltwise_backward::primitive_desc backward({algorithm, array, array, negative_slope}, engine, forward);
  return Prepare(dnnl::eltwise_backward(backward), engine,
                 {{DNNL_ARG_SRC, view(x)}, {DNNL_ARG_DIFF_DST, view(dy)}, {DNNL_ARG_DIFF_SRC, view(out)}});
} catch (const dnnl::error&) {
  return nullptr;
}
