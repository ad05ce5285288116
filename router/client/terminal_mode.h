#pragma once

#include <termios.h>

#include "common/mutex.h"

namespace thinkwire::router::client {

// The terminal of stdin, which marks pastes as such as long as this lives. Whatever was done to it
// meanwhile, it is given back as it was, without what was typed and not read: no shell shall run
// the rest of a paste.
class TerminalMode {
 public:
  // REQUIRES: stdin and stderr are terminals.
  TerminalMode();
  ~TerminalMode();
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;

  // Gives it back now. Threads: any.
  void GiveBack();

 private:
  Mutex mu_;
  bool held_ ABSL_GUARDED_BY(mu_) = true;
  termios before_{};  // constant after construction
};

}  // namespace thinkwire::router::client
