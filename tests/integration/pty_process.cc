#include "tests/integration/pty_process.h"

#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <string>

#include "common/check.h"
#include "tests/integration/process.h"

namespace thinkwire::integration {

PtyProcess::PtyProcess(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::string term = "TERM=xterm";
  // The leaks that a sanitized build is to pass over.
  const char* const leaks = std::getenv("LSAN_OPTIONS");
  std::string lsan = std::string("LSAN_OPTIONS=") + (leaks != nullptr ? leaks : "");
  std::array<char*, 3> environment = {term.data(), lsan.data(), nullptr};
  const winsize size = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  pid_ = forkpty(&terminal_, nullptr, nullptr, &size);
  CHECK(pid_ >= 0, "a terminal");
  if (pid_ == 0) {
    execve(argv[0], argv.data(), environment.data());
    _exit(127);
  }
  reader_ = std::thread([this] { Read(); });
}

PtyProcess::~PtyProcess() {
  if (!exit_) {
    kill(pid_, SIGKILL);
    Wait();
  }
  reader_.join();
  close(terminal_);
}

void PtyProcess::Type(const std::string& keys) {
  for (std::size_t at = 0; at < keys.size();) {
    const ssize_t n = write(terminal_, keys.data() + at, keys.size() - at);
    if (n <= 0) return;  // the process has ended, as the test will see
    at += static_cast<std::size_t>(n);
  }
}

void PtyProcess::Paste(const std::string& text) { Type("\x1b[200~" + text + "\x1b[201~"); }

void PtyProcess::Read() {
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t n = read(terminal_, buffer.data(), buffer.size());
    MutexLock lock(mu_);
    changed_.NotifyAll();
    if (n <= 0) {
      closed_ = true;
      return;
    }
    output_.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

bool PtyProcess::WaitFor(const std::string& text) {
  return WaitUntil([&](const std::string& output) {
    const std::size_t found = output.find(text, seen_);
    if (found == std::string::npos) return false;
    seen_ = found + text.size();
    return true;
  });
}

bool PtyProcess::WaitUntil(const std::function<bool(const std::string&)>& holds) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  MutexLock lock(mu_);
  while (!holds(output_)) {
    if (closed_ || std::chrono::steady_clock::now() >= give_up) return false;
    changed_.WaitFor(mu_, std::chrono::milliseconds(100));
  }
  return true;
}

int PtyProcess::Wait() {
  if (exit_) return *exit_;
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  {
    // The terminal closes when the process ends.
    MutexLock lock(mu_);
    while (!closed_) {
      if (std::chrono::steady_clock::now() >= give_up) return -1;
      changed_.WaitFor(mu_, std::chrono::milliseconds(100));
    }
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return *exit_;
}

std::string PtyProcess::output() const {
  MutexLock lock(mu_);
  return output_;
}

}  // namespace thinkwire::integration
