#include "tests/integration/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/check.h"

extern char** environ;

namespace thinkwire::integration {
namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    // Closed on exec, so that no other child keeps them open.
    CHECK(pipe2(ends.data(), O_CLOEXEC) == 0, "a pipe");
    read = ends[0];
    write = ends[1];
  }
  int read = -1;
  int write = -1;
};

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const std::string& input) {
  signal(SIGPIPE, SIG_IGN);
  const Pipe in;
  const Pipe out;
  const Pipe err;
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write, STDERR_FILENO);
  // As a shell starts it: what is ignored here would be ignored there.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  CHECK(posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), environ) == 0,
        "the binary under test starts");
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  for (const int end : {in.read, out.write, err.write}) close(end);
  output_reader_ = std::thread([this, fd = out.read] { Read(fd, &output_); });
  error_reader_ = std::thread([this, fd = err.read] { Read(fd, &error_); });
  input_writer_ = std::thread([fd = in.write, input] {
    for (std::size_t at = 0; at < input.size();) {
      const ssize_t n = write(fd, input.data() + at, input.size() - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    close(fd);
  });
}

Process::~Process() {
  if (!exit_) {
    kill(pid_, SIGKILL);
    Wait();
  }
  output_reader_.join();
  error_reader_.join();
  input_writer_.join();
}

void Process::Read(int fd, Capture* capture) {
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    MutexLock lock(mu_);
    changed_.NotifyAll();
    if (n <= 0) {
      capture->closed = true;
      break;
    }
    capture->text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(fd);
}

std::optional<std::string> Process::WaitForErrorLine(const std::string& text) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  MutexLock lock(mu_);
  std::size_t line = 0;  // begin of the first line not looked at
  while (true) {
    for (std::size_t end; (end = error_.text.find('\n', line)) != std::string::npos;) {
      const std::string candidate = error_.text.substr(line, end - line);
      if (candidate.find(text) != std::string::npos) return candidate;
      line = end + 1;
    }
    if (error_.closed || std::chrono::steady_clock::now() >= give_up) return std::nullopt;
    changed_.WaitFor(mu_, std::chrono::milliseconds(100));
  }
}

void Process::Signal(int signal) { kill(pid_, signal); }

int Process::Wait() {
  if (exit_) return *exit_;
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  {
    // The pipes close when the process ends.
    MutexLock lock(mu_);
    while (!output_.closed || !error_.closed) {
      if (std::chrono::steady_clock::now() >= give_up) return -1;
      changed_.WaitFor(mu_, std::chrono::milliseconds(100));
    }
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return *exit_;
}

std::size_t Process::Memory() const { return MemoryOf("VmRSS:"); }

std::size_t Process::PeakMemory() const { return MemoryOf("VmHWM:"); }

std::size_t Process::MemoryOf(const std::string& key) const {
  std::ifstream status(absl::StrCat("/proc/", pid_, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stoul(line.substr(key.size())) * 1024;
  }
  return 0;
}

std::string Process::output() const {
  MutexLock lock(mu_);
  return output_.text;
}

std::string Process::error() const {
  MutexLock lock(mu_);
  return error_.text;
}

}  // namespace thinkwire::integration
