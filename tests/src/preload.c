// Preloaded into a program under test: the system then fails it as the shared file says.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct faults {
  int64_t clock_ahead_seconds;
  int64_t fsync_fails;
  int64_t disk_full;
  int64_t writes_fail;
};

static const volatile struct faults *faults;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);

__attribute__((constructor)) static void open_shared(void) {
  const char *path = getenv("TEST_PRELOAD");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) abort();
  const void *shared = mmap(NULL, sizeof(struct faults), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (shared == MAP_FAILED) abort();
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
  faults = shared;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && clock == CLOCK_REALTIME && faults) now->tv_sec += faults->clock_ahead_seconds;
  return result;
}

int fsync(int file) {
  if (faults->fsync_fails) return errno = EIO, -1;
  return real_fsync(file);
}

int fdatasync(int file) {
  if (faults->fsync_fails) return errno = EIO, -1;
  return real_fdatasync(file);
}

// A full disk still takes what is written over what is there; a broken one takes nothing.
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
  struct stat64 is;
  if (faults->writes_fail) return errno = EIO, -1;
  if (faults->disk_full && fstat64(file, &is) == 0 && at + (off64_t)count > is.st_size) return errno = ENOSPC, -1;
  return real_pwrite64(file, bytes, count, at);
}
