#include "router/client/terminal_mode.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <utility>

namespace thinkwire::router::client {
namespace {

// Mode 2004 of xterm, which nearly all terminals of today know: a paste then stands between
// ESC [200~ and ESC [201~.
constexpr std::string_view kMarkPastes = "\x1b[?2004h";
constexpr std::string_view kMarkNoPastes = "\x1b[?2004l";

// Not through stdio, whose lock another thread may hold.
void Send(std::string_view sequence) {
  const char* term = std::getenv("TERM");
  if (term == nullptr || std::string_view(term) == "dumb") return;
  const ssize_t written = write(STDERR_FILENO, sequence.data(), sequence.size());
  static_cast<void>(written);  // a terminal that is gone needs no mode
}

}  // namespace

TerminalMode::TerminalMode() {
  tcgetattr(STDIN_FILENO, &before_);
  Send(kMarkPastes);
}

TerminalMode::~TerminalMode() { GiveBack(); }

void TerminalMode::GiveBack() {
  MutexLock lock(mu_);
  if (!std::exchange(held_, false)) return;
  Send(kMarkNoPastes);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
}

}  // namespace thinkwire::router::client
