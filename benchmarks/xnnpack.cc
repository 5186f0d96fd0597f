// XNNPACK's leaky_relu of float32 on memory that stays where it is.

#include <omp.h>
#include <pthreadpool.h>
#include <xnnpack.h>

#include "native.h"

namespace {

struct Operator {
  xnn_operator_t op = nullptr;
  pthreadpool_t threads = nullptr;
};

}  // namespace

void* xnnpack_create(std::size_t elements, const void* x, void* out, float negative_slope) {
  if (xnn_initialize(nullptr) != xnn_status_success) return nullptr;
  Operator self;
  if (xnn_create_leaky_relu_nc_f32(1, 1, 1, negative_slope, 0, &self.op) != xnn_status_success) return nullptr;
  self.threads = pthreadpool_create(static_cast<std::size_t>(omp_get_max_threads()));
  xnn_setup_leaky_relu_nc_f32(self.op, elements, static_cast<const float*>(x), static_cast<float*>(out), self.threads);
  return new Operator(self);
}

void xnnpack_run(void* primitive) {
  const auto& self = *static_cast<Operator*>(primitive);
  xnn_run_operator(self.op, self.threads);
}

void xnnpack_destroy(void* primitive) {
  const auto* self = static_cast<Operator*>(primitive);
  xnn_delete_operator(self->op);
  pthreadpool_destroy(self->threads);
  delete self;
}
