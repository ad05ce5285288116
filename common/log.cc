#include "common/log.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log_limiter.h"
#include "common/mutex.h"
#include "common/utf8.h"

namespace thinkwire {
namespace {

std::atomic<LogLevel> least_level = LogLevel::kInfo;
std::atomic<std::uint64_t> num_dropped = 0;
std::atomic<std::uint64_t> num_suppressed = 0;

std::string Cut(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  return absl::StrCat(CutText(text, max_bytes), " (", text.size(), " bytes)");
}

const char* Name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      break;
  }
  return "error";
}

// One record, each of its texts cut to `max_text_bytes` before they are escaped.
std::string Format(std::string_view time, LogLevel level, std::string_view message,
                   LogFields fields, std::size_t max_text_bytes) {
  nlohmann::ordered_json record;
  record["time"] = time;
  record["level"] = Name(level);
  record["message"] = Cut(message, max_text_bytes);
  for (const LogField& field : fields) {
    nlohmann::ordered_json& value = record[std::string(field.key)];
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      value = Cut(*text, max_text_bytes);
    } else {
      std::visit([&](const auto& v) { value = v; }, field.value);
    }
  }
  // In ASCII, as terminals obey some of the control characters beyond it too.
  return record.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

// Opens /dev/null for each standard stream that whoever started the process had closed: the next
// file that is opened, a client's socket say, would take stderr's number, and get the logs.
void KeepStandardStreams(int /*argc*/, char** /*argv*/, char** /*environment*/) {
  // The lowest number that is free is always taken.
  int opened = 0;
  while (opened >= 0 && opened <= STDERR_FILENO) opened = open("/dev/null", O_RDWR);
  if (opened > STDERR_FILENO) close(opened);
}

// Before the constructors of the shared libraries, of which gRPC's opens a file.
[[gnu::section(".preinit_array"),
  gnu::used]] void (*const keep_standard_streams)(int, char**, char**) = KeepStandardStreams;

// The end of stderr that all threads share.
class LineWriter {
 public:
  // Writes all of `line` or tells that it could not; never waits.
  bool Write(std::string line) {
    line += '\n';
    MutexLock lock(mu_);
    if (torn_) line.insert(0, 1, '\n');
    pollfd stderr_room = {.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (poll(&stderr_room, 1, 0) != 1 || (stderr_room.revents & POLLOUT) == 0) return false;
    ssize_t written = 0;
    do {
      written = write(STDERR_FILENO, line.data(), line.size());
    } while (written < 0 && errno == EINTR);
    if (written <= 0) return false;
    torn_ = static_cast<std::size_t>(written) < line.size();
    return !torn_;
  }

 private:
  Mutex mu_;
  bool torn_ ABSL_GUARDED_BY(mu_) = false;  // the last line has no end
};

// Never destroyed: threads may log while the process ends.
LineWriter& Writer() {
  static LineWriter& writer = *new LineWriter;
  return writer;
}

void Write(LogLevel level, std::string_view message, LogFields fields) {
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  if (!Writer().Write(FormatLogRecord(time, level, message, fields))) ++num_dropped;
}

// As LogLimiter::Take, of all threads together.
std::optional<std::uint64_t> TakeOfRate(std::string_view message, const LogRate& rate) {
  static Mutex& mu = *new Mutex;
  static LogLimiter& limiter = *new LogLimiter;
  MutexLock lock(mu);
  return limiter.Take(message, rate, Clock::Real().Now());
}

}  // namespace

std::string FormatLogRecord(std::string_view time, LogLevel level, std::string_view message,
                            LogFields fields) {
  for (std::size_t max_text_bytes = kMaxLogRecordBytes;; max_text_bytes /= 2) {
    std::string line = Format(time, level, message, fields, max_text_bytes);
    if (line.size() + 2 <= kMaxLogRecordBytes) return line;  // a line feed at either end
    CHECK(max_text_bytes > 0, "a record has few enough fields to fit");
  }
}

void Log(LogLevel level, std::string_view message, LogFields fields, LogRate rate) {
  if (level < least_level) return;
  const std::optional<std::uint64_t> suppressed = TakeOfRate(message, rate);
  if (!suppressed) {
    ++num_suppressed;
    return;
  }
  if (*suppressed > 0) {
    Write(LogLevel::kWarning, "log records suppressed",
          {{"of", message}, {"records", *suppressed}});
  }
  Write(level, message, fields);
}

std::uint64_t NumDroppedLogRecords() { return num_dropped; }

std::uint64_t NumSuppressedLogRecords() { return num_suppressed; }

void SetLogLevel(LogLevel level) { least_level = level; }

}  // namespace thinkwire
