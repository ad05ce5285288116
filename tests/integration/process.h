#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {

// For whatever a test waits for; a sanitizer makes everything slower. Less than ctest's own.
inline constexpr std::chrono::seconds kPatience{kSanitized ? 240 : 60};

// A child process with its output captured. The destructor kills it if it still runs.
class Process {
 public:
  // Runs arguments[0]; `input` is all of its stdin.
  explicit Process(const std::vector<std::string>& arguments, const std::string& input = "");
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Waits for a whole line of stderr that holds `text`; nullopt if the process ends without one, or
  // patience does.
  std::optional<std::string> WaitForErrorLine(const std::string& text);

  void Signal(int signal);

  // Waits for its end: the exit status, 128 + signal if one killed it, -1 if patience ended first.
  int Wait();

  // Its resident memory now, and the most that it ever had, in bytes; 0 once it has ended.
  std::size_t Memory() const;
  std::size_t PeakMemory() const;

  // What came so far; all of it after Wait.
  std::string output() const;
  std::string error() const;

 private:
  struct Capture {
    std::string text;
    bool closed = false;
  };
  void Read(int fd, Capture* capture);
  std::size_t MemoryOf(const std::string& key) const;

  pid_t pid_ = -1;
  std::optional<int> exit_;
  mutable Mutex mu_;
  CondVar changed_;
  Capture output_ ABSL_GUARDED_BY(mu_);
  Capture error_ ABSL_GUARDED_BY(mu_);
  std::thread output_reader_;
  std::thread error_reader_;
  std::thread input_writer_;
};

}  // namespace thinkwire::integration
