// An array of somebody's, as the C functions take it.
#ifndef LEAKYRELU_BINDINGS_ARRAY_ARRAY_H_
#define LEAKYRELU_BINDINGS_ARRAY_ARRAY_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "leakyrelu/leakyrelu.h"

namespace leakyrelu::arrays {

// Before all else here. Throws ImportError where NumPy is not what this was built for.
void ImportNumpy();

// "float16, ... and float64".
std::string SupportedDTypes();

// Whether an object is an array or a scalar of NumPy's.
bool IsNumpy(nanobind::handle object);

// Whether it is the NumPy scalar True or False.
bool IsNumpyBool(nanobind::handle object);

// Makes the device of an array of CuPy's the current one, in whose streams and memory CuPy deals, until the end of the
// scope; does nothing for other objects.
class CurrentDevice {
 public:
  CurrentDevice() = default;
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

  void SetTo(nanobind::handle x);

 private:
  nanobind::object device_;
};

// Where a call runs: on the CPU or on a stream of a CUDA device.
//
// Calls on arrays of CuPy's run on its current stream and get their memory from it, so that nothing waits. Other
// libraries have no stream that could be asked for: there a call runs on the default stream, gets memory from CUDA, and
// returns when the result is there.
class Place {
 public:
  // Where the array `x`, called `name`, is. `others` are the call's other arrays, or None.
  Place(nanobind::handle x, const char* name, std::initializer_list<nanobind::handle> others);

  nanobind::handle x() const { return x_; }
  bool is_cuda() const { return is_cuda_; }
  bool is_cupy() const { return is_cupy_; }  // all arrays of the call are CuPy's
  int device() const { return device_; }
  uintptr_t stream() const { return stream_; }  // a cudaStream_t, or 1 for the default stream, as DLPack has it

  // Throws unless an array called `name` on this device, as DLPack counts, can be in one call with `x`.
  void Require(int device_type, int device, const char* name) const;

 private:
  nanobind::handle x_;
  const char* name_;
  bool is_cuda_ = false;
  bool is_cupy_ = false;
  int device_ = 0;
  uintptr_t stream_ = 1;
  CurrentDevice current_;
};

// A view of memory, which lives as long as the view. NumPy's arrays are asked for it by its C API, all others by
// DLPack.
class Array {
 public:
  // `object`, called `name`, of any dtype. Throws where it is no array, is not in the memory of `place`, is read-only
  // but to be `writable`, or has something to it that would be lost.
  Array(nanobind::handle object, const char* name, const Place& place, bool writable);

  // Fresh memory for an output of `input`, whose shape it goes on using: in the order of `input` where that is dense,
  // else in C order.
  Array(const Array& input, const Place& place);

  // Fresh memory for so many bytes of uint8.
  Array(size_t count, const Place& place);

  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  // Throw unless it can be what a call reads; what it writes; its mask, of which length the C functions say.
  void RequireInput() const;
  void RequireOutputOf(const Array& input) const;
  void RequireMask() const;

  leakyrelu_array View() const { return {data_, dtype_, ndim_, shape_, strides_}; }
  uint8_t* bytes() const { return static_cast<uint8_t*>(data_); }
  int64_t elements() const;  // the largest number where there are more

  // Fresh memory, complete by now, as an array of the library that the call's `x` is from; NumPy's where that library
  // takes none from others.
  nanobind::object Made(const Place& place) const;

 private:
  static constexpr int kMaxDims = 64;  // NumPy's

  void OpenNumpy(bool writable);
  void OpenForeign(nanobind::handle object, const Place& place, bool writable);
  void Allocate(const Place& place, PyObject* descriptor);
  bool IsDense() const;
  nanobind::dlpack::dtype DlpackDType() const;
  nanobind::object DTypeName() const;  // or what prints like it
  nanobind::tuple Shape() const;

  const char* name_;
  nanobind::object owner_;  // of the memory: NumPy's array or a capsule
  bool is_numpy_ = false;   // the owner
  nanobind::object cupy_;   // a fresh array of CuPy's
  void* data_ = nullptr;
  leakyrelu_dtype dtype_ = {};  // none of them (0): another one
  bool is_uint8_ = false;
  nanobind::dlpack::dtype foreign_dtype_ = {};
  int32_t ndim_ = 0;
  const int64_t* shape_ = nullptr;
  const int64_t* strides_ = nullptr;  // in elements; null: C order
  int64_t own_shape_[1];
  int64_t own_strides_[kMaxDims];
};

// What calls of Python's objects give, as nanobind's own calls do, for code in which a thread may end (see Barrier).
nanobind::object CallPython(nanobind::handle callable, nanobind::handle arguments, nanobind::handle keywords = {});
nanobind::object GetAttribute(nanobind::handle object, const char* name);
// Invalid where there is none, or none that can be had.
nanobind::object FindAttribute(nanobind::handle object, const char* name);
// Whether `object` is of a class of a module that somebody has imported: who has such an object has done so.
bool IsInstanceOf(nanobind::handle object, const char* module, const char* name);

}  // namespace leakyrelu::arrays

#endif  // LEAKYRELU_BINDINGS_ARRAY_ARRAY_H_
