#include "worker/hub/progress_report.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/log.h"

namespace thinkwire::worker::hub {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kLook{250};
constexpr Seconds kRecord{10};
constexpr double kGiga = 1e9;
constexpr double kMega = 1e6;

}  // namespace

std::string ProgressLine(const std::string& what, const Progress& progress, double rate) {
  const auto total = static_cast<double>(progress.total_bytes());
  const auto done = static_cast<double>(progress.done_bytes());
  return absl::StrFormat("%s: %.1f of %.1f GB, %.0f %%, %.1f MB/s, %s", what, done / kGiga,
                         total / kGiga, total > 0 ? 100 * done / total : 0, rate / kMega,
                         progress.file());
}

ProgressReport::ProgressReport(std::string what, const Progress& progress,
                               std::function<void()> look)
    : what_(std::move(what)),
      progress_(progress),
      look_(std::move(look)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      thread_([this] { Run(); }) {}

ProgressReport::~ProgressReport() {
  {
    const MutexLock lock(mu_);
    end_ = true;
  }
  ended_.NotifyAll();
  thread_.join();
}

void ProgressReport::TellWait(const std::string& file) {
  if (!terminal_) {
    LogInfo("waiting for another process's download", {{"model", what_}, {"file", file}});
  } else {
    std::fprintf(stderr, "\r\x1b[K%s: waiting for another process that downloads %s\n",
                 what_.c_str(), file.c_str());
  }
}

void ProgressReport::Show(double rate) {
  if (terminal_) {
    std::fprintf(stderr, "\r\x1b[K%s", ProgressLine(what_, progress_, rate).c_str());
    return;
  }
  LogInfo("downloading", {{"model", what_},
                          {"file", progress_.file()},
                          {"done_bytes", progress_.done_bytes()},
                          {"total_bytes", progress_.total_bytes()},
                          {"bytes_per_second", rate}});
}

void ProgressReport::Run() {
  auto shown = std::chrono::steady_clock::now();
  std::int64_t shown_bytes = progress_.done_bytes();
  const MutexLock lock(mu_);
  while (!end_) {
    ended_.WaitFor(mu_, kLook);
    if (look_) look_();
    const auto now = std::chrono::steady_clock::now();
    const Seconds past = now - shown;
    if (past < (terminal_ ? Seconds(kLook) : kRecord)) continue;
    const std::int64_t bytes = progress_.done_bytes();
    Show(static_cast<double>(bytes - shown_bytes) / past.count());
    shown = now;
    shown_bytes = bytes;
  }
  if (terminal_) std::fputs("\r\x1b[K", stderr);
}

}  // namespace thinkwire::worker::hub
