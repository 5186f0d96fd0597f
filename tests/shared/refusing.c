// To be preloaded into Python: has one request for memory refused, of the thread that asked for that, and tells who
// made it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stddef.h>
#include <string.h>

extern void* __libc_malloc(size_t bytes);
extern void* __libc_calloc(size_t count, size_t bytes);
extern void* __libc_realloc(void* memory, size_t bytes);
extern void* __libc_memalign(size_t alignment, size_t bytes);

#define FRAMES 40
#define THREADS_OWN static __thread __attribute__((tls_model("initial-exec")))

THREADS_OWN long left;  // requests up to the one that is refused; 0: none is
THREADS_OWN int frames;
THREADS_OWN void* frame[FRAMES];

THREADS_OWN const char* of;   // a part of a library's name; "": of any
THREADS_OWN const char* but;  // a part of a function's name; "": of none

// The n-th request of this thread from here on is refused, of those that a library of such a name makes or has made,
// but for those that a function of such a name does.
void refuse(long n, const char* library, const char* function) {
  frames = 0;
  of = library;
  but = function;
  left = n;
}

// Ends that. Returns how many return addresses of the request's are in `addresses`; 0 if none was refused.
int allow(void** addresses) {
  left = 0;
  for (int i = 0; i < frames; ++i) addresses[i] = frame[i];
  return frames;
}

static int counts(void) {
  if (*of == '\0') return 1;
  int is_of = 0;
  for (int i = 0; i < frames; ++i) {
    Dl_info caller;
    if (dladdr(frame[i], &caller) == 0) continue;
    if (strstr(caller.dli_fname, of) != NULL) is_of = 1;
    if (*but != '\0' && caller.dli_sname != NULL && strstr(caller.dli_sname, but) != NULL) return 0;
  }
  return is_of;
}

static int is_refused(void) {
  if (left == 0) return 0;
  const long still = left;
  left = 0;  // whatever backtrace needs
  frames = *of != '\0' || still == 1 ? backtrace(frame, FRAMES) : 0;
  left = counts() ? still - 1 : still;
  if (still == 1 && left == 0) {
    errno = ENOMEM;
    return 1;
  }
  frames = 0;
  return 0;
}

void* malloc(size_t bytes) { return is_refused() ? NULL : __libc_malloc(bytes); }
void* calloc(size_t count, size_t bytes) { return is_refused() ? NULL : __libc_calloc(count, bytes); }
void* realloc(void* memory, size_t bytes) { return is_refused() ? NULL : __libc_realloc(memory, bytes); }
void* memalign(size_t alignment, size_t bytes) { return is_refused() ? NULL : __libc_memalign(alignment, bytes); }
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  void* const given = memalign(alignment, bytes);
  if (given == NULL) return ENOMEM;
  *memory = given;
  return 0;
}
