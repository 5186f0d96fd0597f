// XNNPACK's leaky_relu of float32 on memory that stays where it is.

#include <omp.h>
#include <pthreadpool.h>
#include <xnnpack.h>

#include <memory>

#include "native.h"

Call* xnnpack(std::size_t elements, const void* x, void* out, float negative_slope) {
  if (xnn_initialize(nullptr) != xnn_status_success) return nullptr;
  xnn_operator_t created = nullptr;
  if (xnn_create_leaky_relu_nc_f32(1, 1, 1, negative_slope, 0, &created) != xnn_status_success) return nullptr;
  const std::shared_ptr<xnn_operator> op(created, xnn_delete_operator);
  const std::shared_ptr<pthreadpool> threads(pthreadpool_create(static_cast<std::size_t>(omp_get_max_threads())),
                                             pthreadpool_destroy);
  xnn_setup_leaky_relu_nc_f32(op.get(), elements, static_cast<const float*>(x), static_cast<float*>(out),
                              threads.get());
  return MakeCall([op, threads] { xnn_run_operator(op.get(), threads.get()); });
}
