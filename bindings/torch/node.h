// What the hand-written autograd nodes share.
#ifndef LEAKYRELU_BINDINGS_TORCH_NODE_H_
#define LEAKYRELU_BINDINGS_TORCH_NODE_H_

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace leakyrelu::tensors {

// A node in the pointer that this torch has for nodes: 2.11 has a std::shared_ptr, 2.13 one of its own.
template <class Node, class... Arguments>
auto NodePointer(Arguments&&... arguments) {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, Node>) {
    return c10::make_intrusive<Node>(std::forward<Arguments>(arguments)...);
  } else {
    return std::shared_ptr<Node>(new Node(std::forward<Arguments>(arguments)...), [](Node* node) { deleteNode(node); });
  }
}

using ApplyPacked = ::torch::autograd::variable_list (*)(const ::torch::autograd::variable_list& grads,
                                                         const std::vector<c10::IValue>& values);

// A node's apply_with_saved. Compiled autograd traces a function of (gradients, saved values) when their shapes are not
// known yet: `apply`, with what `packed` holds.
inline ::torch::autograd::variable_list CallPacked(const ::torch::autograd::Node& node,
                                                   const ::torch::autograd::variable_list& grads,
                                                   ::torch::autograd::SwapSavedVariables& saved,
                                                   const ::torch::dynamo::autograd::PackedArgs& packed,
                                                   ApplyPacked apply) {
  namespace dynamo = ::torch::dynamo::autograd;
  using OutputMetadata = std::vector<std::optional<::torch::autograd::InputMetadata>>;

  std::vector<at::TypePtr> schema;
  for (const c10::IValue& value : packed.vec()) {
    schema.push_back(value.isTensor() ? at::TypePtr(at::TensorType::get()) : value.type());
  }
  const auto& python = dynamo::getPyCompilerInterface();
  const std::string function = python->bind_function(saved.get_py_compiler(), node.name(), apply, std::move(schema),
                                                     /*is_custom_function=*/true, /*is_traceable=*/true);
  return python->call_function(
      saved.get_py_compiler(), "apply_functional", function, grads, packed.vec(),
      dynamo::IValuePacker<OutputMetadata>::pack(dynamo::get_input_metadata(node.next_edges())));
}

}  // namespace leakyrelu::tensors

#endif  // LEAKYRELU_BINDINGS_TORCH_NODE_H_
