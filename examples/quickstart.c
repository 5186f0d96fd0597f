/* The reference page's example in C: LeakyReLU with slope 0.1, forward and backward, in place. */

#include <stdint.h>
#include <stdio.h>

#include "leakyrelu/leakyrelu.h"

int main(void) {
  float numbers[4] = {-2.0f, -0.0f, 0.5f, 3.0f};
  const int64_t shape[1] = {4};
  const leakyrelu_array x = {numbers, LEAKYRELU_FLOAT32, 1, shape, NULL};
  uint8_t mask[1];

  leakyrelu_status status = leakyrelu_forward(&x, &x, 0.1, mask, sizeof(mask), NULL);
  if (status == LEAKYRELU_OK) {
    printf("y     %g %g %g %g\n", (double)numbers[0], (double)numbers[1], (double)numbers[2], (double)numbers[3]);
    for (int i = 0; i < 4; ++i) numbers[i] = 1.0f;
    status = leakyrelu_backward(&x, mask, sizeof(mask), &x, 0.1, NULL);
  }
  if (status != LEAKYRELU_OK) {
    fprintf(stderr, "%s\n", leakyrelu_status_message(status));
    return 1;
  }
  printf("dy/dx %g %g %g %g\n", (double)numbers[0], (double)numbers[1], (double)numbers[2], (double)numbers[3]);
  return 0;
}
