/* What a user's first CUDA program looks like, less the card: nothing in it launches a kernel. */
#include <leakyrelu/cuda.h>
#include <stdio.h>

int main(void) {
  const int64_t shape[1] = {0};
  const leakyrelu_array none = {NULL, LEAKYRELU_FLOAT32, 1, shape, NULL};
  if (leakyrelu_cuda_forward(&none, &none, 0.1, NULL, 0, NULL) != LEAKYRELU_OK) return 1;
  if (leakyrelu_cuda_backward(NULL, NULL, 0, &none, 0.1, NULL) != LEAKYRELU_ERROR_NULL_INPUT) return 2;
  if (leakyrelu_cuda_error_message()[0] == '\0') return 3;
  puts("CUDA works");
  return 0;
}
