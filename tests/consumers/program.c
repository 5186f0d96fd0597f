/* A user's C program: LeakyReLU with its mask, its gradient, and an error. */

#include <leakyrelu/leakyrelu.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  float x[3] = {-2.0f, 0.0f, 3.0f};
  float y[3];
  const int64_t shape[1] = {3};
  const leakyrelu_array x_view = {x, LEAKYRELU_FLOAT32, 1, shape, NULL};
  const leakyrelu_array y_view = {y, LEAKYRELU_FLOAT32, 1, shape, NULL};
  uint8_t mask[1];
  if (leakyrelu_forward(&x_view, &y_view, 0.5, mask, sizeof(mask), NULL) != LEAKYRELU_OK) return 1;
  if (y[0] != -1.0f || y[1] != 0.0f || y[2] != 3.0f || mask[0] != 4) return 2;
  if (leakyrelu_backward(&y_view, mask, sizeof(mask), &y_view, 0.5, NULL) != LEAKYRELU_OK) return 3;
  if (y[0] != -0.5f || y[1] != 0.0f || y[2] != 3.0f) return 4;
  if (strlen(leakyrelu_status_message(leakyrelu_set_num_threads(0))) == 0) return 5;
  puts("C works");
  return 0;
}
