#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace thinkwire::worker::kernels {

// Ends the process with "file:line: message" unless `ok`: for what only a bug of our own can make
// false, such as a shape that an op does not take.
inline void Check(bool ok, const char* message,
                  std::source_location where = std::source_location::current()) {
  if (ok) [[likely]] {
    return;
  }
  std::fprintf(stderr, "%s:%u: check failed: %s\n", where.file_name(), where.line(), message);
  std::fflush(stderr);
  std::abort();
}

}  // namespace thinkwire::worker::kernels
