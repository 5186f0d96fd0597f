// Tensors that other libraries hand over by DLPack, in capsules of Python's.
#ifndef LEAKYRELU_BINDINGS_ARRAY_DLPACK_H_
#define LEAKYRELU_BINDINGS_ARRAY_DLPACK_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>

namespace leakyrelu::arrays {

// What a capsule holds, as long as that is there.
struct Offer {
  const nanobind::dlpack::dltensor* tensor;
  bool tells_writable;  // whether it can say that its memory may be written to, as of DLPack 1
  bool is_writable;     // whether it does
};

// Reads what the __dlpack__ of an array called `name` has returned. Throws TypeError for what is no tensor, has more
// than `max_dims` dims, or says of itself what cannot be so.
Offer OfferOf(nanobind::handle capsule, const char* name, int max_dims);

// A tensor that is no longer the capsule's. Its deleter is called at the end, once.
using Taken = std::unique_ptr<void, void (*)(void*)>;

// Takes what OfferOf has read, and leaves the capsule empty.
Taken Take(nanobind::handle capsule);

}  // namespace leakyrelu::arrays

#endif  // LEAKYRELU_BINDINGS_ARRAY_DLPACK_H_
