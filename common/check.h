#pragma once

namespace thinkwire {

// Prints "file:line: CHECK failed: condition: message" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const char* message);

}  // namespace thinkwire

// For what only a bug of our own can make false. What the outside world can cause is an
// absl::Status.
#define CHECK(condition, message)                                        \
  do {                                                                   \
    if (!(condition)) [[unlikely]]                                       \
      ::thinkwire::CheckFailed(__FILE__, __LINE__, #condition, message); \
  } while (false)
