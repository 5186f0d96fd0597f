// Not by nanobind's own arrays: they take on trust what a capsule says, and end the process where there is no memory.

#include "dlpack.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "python.h"

namespace nb = nanobind;

namespace leakyrelu::arrays {
namespace {

using Tensor = nb::dlpack::dltensor;

// What a capsule named dltensor points to, and as of DLPack 1 one named dltensor_versioned.
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);

  static constexpr char kName[] = "dltensor";
  static constexpr char kUsedName[] = "used_dltensor";
};
struct Versioned {
  uint32_t major;
  uint32_t minor;
  void* context;
  void (*deleter)(Versioned*);
  uint64_t flags;
  Tensor tensor;

  static constexpr char kName[] = "dltensor_versioned";
  static constexpr char kUsedName[] = "used_dltensor_versioned";
  static constexpr uint64_t kIsReadOnly = 1;  // of the flags
};

// Null for what is no capsule of that name.
template <class Holder>
Holder* HeldBy(nb::handle capsule) {
  if (PyCapsule_IsValid(capsule.ptr(), Holder::kName) == 0) return nullptr;
  return static_cast<Holder*>(PyCapsule_GetPointer(capsule.ptr(), Holder::kName));
}

template <class Holder>
Taken TakeFrom(nb::handle capsule, Holder* holder) {
  if (PyCapsule_SetDestructor(capsule.ptr(), nullptr) != 0 ||
      PyCapsule_SetName(capsule.ptr(), Holder::kUsedName) != 0) {
    throw nb::python_error();
  }
  return Taken(holder, [](void* taken) {
    auto* const held = static_cast<Holder*>(taken);
    if (held->deleter != nullptr) held->deleter(held);
  });
}

void RequireReadable(const Tensor& tensor, const char* name, int max_dims) {
  const char* const where = "in what its __dlpack__ returns";
  if (tensor.ndim < 0 || tensor.ndim > max_dims) {
    Raise(PyExc_TypeError, "%s has ndim %d %s; it must be 0 to %d", name, tensor.ndim, where, max_dims);
  }
  if (tensor.ndim > 0 && tensor.shape == nullptr) {
    Raise(PyExc_TypeError, "%s has no shape %s; only a tensor with ndim 0 needs none", name, where);
  }
  bool is_empty = false;
  for (int i = 0; i < tensor.ndim; ++i) {
    is_empty |= tensor.shape[i] == 0;
    if (tensor.shape[i] < 0) {
      Raise(PyExc_TypeError, "%s has an extent of %lld %s; extents must be 0 or more", name,
            static_cast<long long>(tensor.shape[i]), where);
    }
  }
  if (is_empty) return;
  if (tensor.data == nullptr) {  // with whatever offset
    Raise(PyExc_TypeError, "%s has no data %s; only a tensor without elements needs none", name, where);
  }
  constexpr uint64_t kLast = std::numeric_limits<int64_t>::max();  // address, see FindBounds in src/plan.cc
  if (tensor.byte_offset > kLast || reinterpret_cast<uintptr_t>(tensor.data) > kLast - tensor.byte_offset) {
    Raise(PyExc_TypeError, "%s has a byte_offset of %llu %s; it must not lead beyond the address space", name,
          static_cast<unsigned long long>(tensor.byte_offset), where);
  }
}

}  // namespace

Offer OfferOf(nb::handle capsule, const char* name, int max_dims) {
  Offer offer = {};
  if (const auto* const versioned = HeldBy<Versioned>(capsule)) {
    if (versioned->major != nb::dlpack::major_version) {
      Raise(PyExc_TypeError, "%s comes by DLPack %u.%u; it must come by version 1, which __dlpack__ was asked for",
            name, versioned->major, versioned->minor);
    }
    offer = {&versioned->tensor, true, (versioned->flags & Versioned::kIsReadOnly) == 0};
  } else if (const auto* const managed = HeldBy<Managed>(capsule)) {
    offer = {&managed->tensor, false, false};
  } else {
    const char* const held = PyCapsule_CheckExact(capsule.ptr()) ? PyCapsule_GetName(capsule.ptr()) : nullptr;
    Raise(PyExc_TypeError,
          "%s does not give access to its memory by DLPack: its __dlpack__ returns no tensor but %U%s%s", name,
          TypeName(capsule).ptr(), held != nullptr ? " " : "", held != nullptr ? held : "");
  }
  RequireReadable(*offer.tensor, name, max_dims);
  return offer;
}

Taken Take(nb::handle capsule) {
  if (auto* const versioned = HeldBy<Versioned>(capsule)) return TakeFrom(capsule, versioned);
  return TakeFrom(capsule, HeldBy<Managed>(capsule));
}

}  // namespace leakyrelu::arrays
