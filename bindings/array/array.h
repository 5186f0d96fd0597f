// An array of somebody's, as the C functions take it.
#ifndef LEAKYRELU_BINDINGS_ARRAY_ARRAY_H_
#define LEAKYRELU_BINDINGS_ARRAY_ARRAY_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "dlpack.h"
#include "leakyrelu/leakyrelu.h"
#include "place.h"

namespace leakyrelu::arrays {

// Before all else here. Throws ImportError where NumPy is not what this was built for.
void ImportNumpy();

// Whether an object is an array or a scalar of NumPy's; whether it is the scalar True or False; whether it is complex.
bool IsNumpy(nanobind::handle object);
bool IsNumpyBool(nanobind::handle object);
bool IsNumpyComplex(nanobind::handle object);

// "float16, ... and float64".
std::string SupportedDTypes();

// A view of memory, which lives as long as the view. NumPy's arrays are asked for it by its C API, all others by
// DLPack.
class Array {
 public:
  // `object`, called `name`, of any dtype. Throws where it is no array, is not in the memory of `place`, is read-only
  // but to be `writable`, or has something to it that would be lost.
  Array(nanobind::handle object, const char* name, const Place& place, bool writable);

  // The output of a call on `input`, which must outlive it: `object`, called `name`, whose dtype and shape must be the
  // input's; or for None fresh memory, in the order of `input` where that is dense, else in C order.
  static Array Output(nanobind::handle object, const char* name, const Place& place, const Array& input);

  // Fresh memory for so many bytes of uint8.
  Array(size_t count, const Place& place);

  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  // Throw unless a call can read it; unless it can be a mask, of which length the C functions say.
  void RequireInput() const;
  void RequireMask() const;

  // Of what the array is now: whatever runs other people's code may change NumPy's arrays. Until the next call of this.
  leakyrelu_array View();
  uint8_t* bytes() const { return static_cast<uint8_t*>(data_); }
  int64_t elements() const;  // the largest number where there are more

  // Fresh memory, complete by now, as an array of the library that the call's `x` is from; NumPy's where that library
  // takes none from others.
  nanobind::object Made(const Place& place) const;

 private:
  static constexpr int kMaxDims = 64;  // NumPy's

  Array(nanobind::handle object, const char* name, const Place& place, const Array& input);
  Array(const Array& input, const Place& place);

  void OpenNumpy(nanobind::object array, bool writable);
  void ReadNumpy();
  void OpenForeign(nanobind::handle object, const Place& place, bool writable);
  void TakeCupy(const Place& place, nanobind::object fresh);
  void Allocate(const Place& place, PyObject* descriptor, const int64_t* strides);
  bool IsDense() const;
  nanobind::object DTypeName() const;
  nanobind::object ShapeText() const;

  const char* name_;
  Taken taken_{nullptr, nullptr};  // the owner of memory that came by DLPack
  nanobind::object owner_;         // of other memory: NumPy's array or a capsule
  bool is_numpy_ = false;          // the owner
  nanobind::object cupy_;          // a fresh array of CuPy's
  void* data_ = nullptr;
  nanobind::dlpack::dtype dtype_ = {};  // of no bits: one of NumPy's that DLPack has no name for
  int32_t ndim_ = 0;
  const int64_t* shape_ = nullptr;
  const int64_t* strides_ = nullptr;  // in elements; null: C order
  int64_t own_shape_[kMaxDims];
  int64_t own_strides_[kMaxDims];
};

}  // namespace leakyrelu::arrays

#endif  // LEAKYRELU_BINDINGS_ARRAY_ARRAY_H_
