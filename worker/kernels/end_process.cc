#include "worker/kernels/end_process.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace thinkwire::worker::kernels {

void EndProcess(const char* format, ...) {
  static std::atomic_flag ending;
  while (ending.test_and_set()) std::this_thread::sleep_for(std::chrono::seconds(1));
  // One write past stdio's lock, which may be held by what is stuck.
  std::array<char, 1024> line;
  std::va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
  va_end(arguments);
  const std::size_t end = std::min(static_cast<std::size_t>(std::max(length, 0)), line.size() - 1);
  line[end] = '\n';
  const ssize_t written = write(STDERR_FILENO, line.data(), end + 1);
  static_cast<void>(written);  // nobody is left to tell
  std::_Exit(70);
}

}  // namespace thinkwire::worker::kernels
