// Which sanitizer a program is built with: LEAKYRELU_TESTS_ASAN, LEAKYRELU_TESTS_TSAN or neither.
#ifndef LEAKYRELU_TESTS_CORE_SANITIZERS_H_
#define LEAKYRELU_TESTS_CORE_SANITIZERS_H_

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKYRELU_TESTS_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define LEAKYRELU_TESTS_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define LEAKYRELU_TESTS_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define LEAKYRELU_TESTS_TSAN 1
#endif

#endif  // LEAKYRELU_TESTS_CORE_SANITIZERS_H_
