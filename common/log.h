#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace thinkwire {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

// One named value of a log record.
struct LogField {
  using Value = std::variant<std::int64_t, std::uint64_t, double, bool, std::string_view>;

  template <std::signed_integral T>
  LogField(std::string_view k, T v) : key(k), value(static_cast<std::int64_t>(v)) {}
  template <std::unsigned_integral T>
  LogField(std::string_view k, T v) : key(k), value(static_cast<std::uint64_t>(v)) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}

  std::string_view key;
  Value value;
};
using LogFields = std::initializer_list<LogField>;

// How many records of one message are written: `burst` at once, and `a_second` after that. Whoever
// can cause a record can cause it as often as he likes, and a disk is finite.
struct LogRate {
  double a_second = 10;
  double burst = 200;
  // Who causes the record: nobody's leave others without theirs (LogLimiter). Empty: it is not
  // known, or one whom no share limits.
  std::string_view who = {};
};
// Of what every request writes once: some 200 KB/s of log at most, for days.
inline constexpr LogRate kRequestLogRate = {.a_second = 200, .burst = 2000, .who = {}};
// The same for a request of `peer`, as Shares counts it.
constexpr LogRate RequestLogRate(std::string_view peer) {
  return {.a_second = kRequestLogRate.a_second, .burst = kRequestLogRate.burst, .who = peer};
}

// A line with its line feed: what a pipe takes at once, and never mixes with other writers' lines.
inline constexpr std::size_t kMaxLogRecordBytes = 4096;

// Writes one JSON record, {"time": …, "level": …, "message": …, fields…}, as one line of ASCII to
// stderr. Texts are escaped and cut, so that no input can forge or flood a line. Never put prompts,
// outputs or secrets here. `message` names the event and is a literal: of each there are as many
// records as `rate` says, then none (and before that none of whoever causes most of them), and the
// next that is written follows one of "log records suppressed", which says how many.
// A record that cannot be written at once (the disk is full, the pipe is closed or its reader
// hangs) is dropped and counted: logs hold up nobody's work. A closed pipe asks that SIGPIPE is
// ignored. A process that was started without stderr, or stdin or stdout, has /dev/null there.
// Threads: any.
void Log(LogLevel level, std::string_view message, LogFields fields = {}, LogRate rate = {});

// The same for fields that are as many as the process finds.
void LogRecord(LogLevel level, std::string_view message, std::span<const LogField> fields,
               LogRate rate = {});

inline void LogDebug(std::string_view message, LogFields fields = {}) {
  Log(LogLevel::kDebug, message, fields);
}
inline void LogInfo(std::string_view message, LogFields fields = {}, LogRate rate = {}) {
  Log(LogLevel::kInfo, message, fields, rate);
}
inline void LogWarning(std::string_view message, LogFields fields = {}) {
  Log(LogLevel::kWarning, message, fields);
}
inline void LogError(std::string_view message, LogFields fields = {}) {
  Log(LogLevel::kError, message, fields);
}

// Records of the process that Log could not write.
std::uint64_t NumDroppedLogRecords();

// Records of the process that were too many of their kind.
std::uint64_t NumSuppressedLogRecords();

// Records below `level` are dropped from now on; kInfo at the start.
void SetLogLevel(LogLevel level);

// What --log_level can be, and what it means. REQUIRES: `name` is one of kLogLevels.
inline constexpr char kLogLevels[] = "debug|info|warning|error";
LogLevel LogLevelByName(std::string_view name);

// The line that Log writes, without its line feed: shorter than kMaxLogRecordBytes. `time` is RFC
// 3339.
std::string FormatLogRecord(std::string_view time, LogLevel level, std::string_view message,
                            LogFields fields);

}  // namespace thinkwire
