#include "worker/hub/progress_report.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/log.h"

namespace thinkwire::worker::hub {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kLook{250};
constexpr double kGiga = 1e9;
constexpr double kMega = 1e6;
constexpr double kMemoryS = 3;  // after so long what came counts for a third
constexpr double kUnknownTime = -1;
constexpr double kLongest = 100.0 * 3600;  // that is told in hours
constexpr std::size_t kMinBar = 10;
constexpr std::size_t kMaxBar = 30;
constexpr std::size_t kUsualColumns = 80;

// "1:49", "2:03:00".
std::string TimeText(double seconds) {
  if (seconds < 0 || seconds >= kLongest) return "-:--";
  const auto all = static_cast<int>(seconds);
  const int hours = all / 3600;
  if (hours == 0) return absl::StrFormat("%d:%02d", all / 60, all % 60);
  return absl::StrFormat("%d:%02d:%02d", hours, all / 60 % 60, all % 60);
}

// "[####------] ", as long as a line of so many columns has room beside its `others`; empty: it has
// none.
std::string Bar(double share, std::size_t others, std::size_t columns) {
  constexpr std::size_t kFrame = 4;  // brackets, and a space before and behind them
  if (columns < others + kFrame + kMinBar) return "";
  const std::size_t width = std::min(kMaxBar, columns - others - kFrame);
  const auto full = static_cast<std::size_t>(share * static_cast<double>(width));
  return absl::StrCat("[", std::string(full, '#'), std::string(width - full, '-'), "] ");
}

// Of the terminal that stderr is, but for the last one, behind which some begin a new line.
std::size_t Columns() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return (known ? size.ws_col : kUsualColumns) - 1;
}

}  // namespace

double RecentRate::Add(std::int64_t bytes, double seconds) {
  const double kept = std::exp(-seconds / kMemoryS);
  rate_ = kept * rate_ + (1 - kept) * static_cast<double>(bytes) / seconds;
  weight_ = kept * weight_ + (1 - kept);
  return rate_ / weight_;
}

std::string ProgressLine(const std::string& what, const Progress& progress, double rate,
                         std::size_t columns) {
  const auto total = static_cast<double>(progress.total_bytes());
  const auto done = static_cast<double>(progress.done_bytes());
  const double share = total > 0 ? std::clamp(done / total, 0.0, 1.0) : 0;
  const std::string text = absl::StrFormat(
      "%3.0f %%, %.1f of %.1f GB, %.1f MB/s, %s left", 100 * share, done / kGiga, total / kGiga,
      rate / kMega, TimeText(rate > 0 ? (total - done) / rate : kUnknownTime));
  std::string line = absl::StrCat(what, " ", Bar(share, what.size() + text.size(), columns), text);
  if (line.size() + 2 + progress.file().size() <= columns) {
    absl::StrAppend(&line, ", ", progress.file());
  }
  return line.substr(0, columns);
}

ProgressReport::ProgressReport(std::string what, const Progress& progress,
                               std::function<void()> look,
                               std::chrono::milliseconds record_interval)
    : what_(std::move(what)),
      progress_(progress),
      look_(std::move(look)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      record_interval_(record_interval),
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
    std::fprintf(stderr, "\r\x1b[K%s", ProgressLine(what_, progress_, rate, Columns()).c_str());
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
  std::int64_t shown_bytes = progress_.came_bytes();
  RecentRate recent;
  const MutexLock lock(mu_);
  while (!end_) {
    ended_.WaitFor(mu_, kLook);
    if (look_) look_();
    const auto now = std::chrono::steady_clock::now();
    const Seconds past = now - shown;
    if (past < (terminal_ ? kLook : record_interval_)) continue;
    const std::int64_t bytes = progress_.came_bytes();
    const double last = static_cast<double>(bytes - shown_bytes) / past.count();
    Show(terminal_ ? recent.Add(bytes - shown_bytes, past.count()) : last);
    shown = now;
    shown_bytes = bytes;
  }
  if (terminal_) std::fputs("\r\x1b[K", stderr);
}

}  // namespace thinkwire::worker::hub
