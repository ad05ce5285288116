#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/mutex.h"

namespace thinkwire::integration {

// A child process at a terminal of its own, 80 columns wide, that a test types at. The destructor
// kills it if it still runs.
class PtyProcess {
 public:
  // Runs arguments[0] in the locale C, with TERM=xterm.
  explicit PtyProcess(const std::vector<std::string>& arguments);
  ~PtyProcess();
  PtyProcess(const PtyProcess&) = delete;
  PtyProcess& operator=(const PtyProcess&) = delete;

  // As keys; "\r" is Enter.
  void Type(const std::string& keys);
  // As a terminal in which pastes are marked.
  void Paste(const std::string& text);

  // Waits until the terminal has shown `text` behind what the last call waited for; false if the
  // process ends without, or patience does.
  bool WaitFor(const std::string& text);

  // The same for what holds of all that the process wrote so far, whatever was waited for.
  bool WaitUntil(const std::function<bool(const std::string&)>& holds);

  // Waits for its end: the exit status, 128 + signal if one killed it, -1 if patience ended first.
  int Wait();

  // What the process wrote to the terminal so far, with all control sequences.
  std::string output() const;

 private:
  void Read();

  pid_t pid_ = -1;
  int terminal_ = -1;
  std::optional<int> exit_;
  std::size_t seen_ = 0;  // of the output, by WaitFor
  mutable Mutex mu_;
  CondVar changed_;
  std::string output_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::thread reader_;
};

}  // namespace thinkwire::integration
