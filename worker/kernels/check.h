#pragma once

#include <cstdio>
#include <cstdlib>

namespace thinkwire::worker::kernels {

// Ends the process with "file:line: message" unless `ok`: for what only a bug of our own can make
// false, such as a shape that an op does not take.
inline void Check(bool ok, const char* message, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (ok) [[likely]] {
    return;
  }
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, message);
  std::fflush(stderr);
  std::abort();
}

}  // namespace thinkwire::worker::kernels
