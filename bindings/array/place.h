// Where a call runs, and whose library its results go to.
#ifndef LEAKYRELU_BINDINGS_ARRAY_PLACE_H_
#define LEAKYRELU_BINDINGS_ARRAY_PLACE_H_

#include <nanobind/nanobind.h>

#include <cstdint>
#include <initializer_list>

namespace leakyrelu::arrays {

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

// A device as DLPack counts them.
struct Device {
  int type = 1;  // the CPU
  int number = 0;

  bool is_cpu() const { return type == 1; }  // of any number: JAX numbers those that XLA_FLAGS makes of one
  bool is_cuda() const { return type == 2 || type == 13; }  // 13: memory that CUDA manages
};

// What `x` says of itself. Throws python_error where it says nothing.
Device DeviceOf(nanobind::handle x);

// On the CPU, or on a stream of a CUDA device.
//
// Calls on arrays of CuPy's run on its current stream and get their memory from it, so that nothing waits. Other
// libraries have no stream that could be asked for: there a call runs on the default stream, gets memory from CUDA, and
// returns when the result is there.
class Place {
 public:
  // Where the array `x`, called `name`, is. `others` are the call's other arrays, or None.
  Place(nanobind::handle x, const char* name, std::initializer_list<nanobind::handle> others);

  nanobind::handle x() const { return x_; }
  bool is_cuda() const { return device_.is_cuda(); }
  bool is_cupy() const { return is_cupy_; }  // all arrays of the call are CuPy's
  Device device() const { return device_; }
  uintptr_t stream() const { return stream_; }  // a cudaStream_t, or 1 for the default stream, as DLPack has it

  // The from_dlpack of the library that `x` is from; invalid if that is NumPy, or has none.
  nanobind::handle from_dlpack() const { return from_dlpack_; }

  // Throws unless an array called `name` on a device can be in one call with `x`.
  void Require(Device device, const char* name) const;

 private:
  nanobind::handle x_;
  const char* name_;
  Device device_;
  bool is_cupy_ = false;
  uintptr_t stream_ = 1;
  nanobind::object from_dlpack_;
  CurrentDevice current_;
};

}  // namespace leakyrelu::arrays

#endif  // LEAKYRELU_BINDINGS_ARRAY_PLACE_H_
