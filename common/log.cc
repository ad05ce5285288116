#include "common/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace thinkwire {
namespace {

constexpr std::size_t kMaxTextBytes = 4096;

std::string Cut(std::string_view text) {
  if (text.size() <= kMaxTextBytes) return std::string(text);
  return absl::StrFormat("%s... (%d bytes)", absl::string_view(text.data(), kMaxTextBytes),
                         text.size());
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
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
      return "error";
  }
  return "error";
}

// Never destroyed: threads may log while the process ends.
spdlog::logger& Logger() {
  static spdlog::logger& logger = *[] {
    auto* made = new spdlog::logger("thinkwire", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::info);
    made->flush_on(spdlog::level::trace);
    made->set_error_handler([](const std::string&) {});
    return made;
  }();
  return logger;
}

}  // namespace

std::string FormatLogRecord(std::string_view time, LogLevel level, std::string_view message,
                            LogFields fields) {
  nlohmann::ordered_json record;
  record["time"] = time;
  record["level"] = Name(level);
  record["message"] = Cut(message);
  for (const LogField& field : fields) {
    nlohmann::ordered_json& value = record[std::string(field.key)];
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      value = Cut(*text);
    } else {
      std::visit([&](const auto& v) { value = v; }, field.value);
    }
  }
  return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void Log(LogLevel level, std::string_view message, LogFields fields) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(ToSpdlog(level))) return;
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  logger.log(ToSpdlog(level), FormatLogRecord(time, level, message, fields));
}

void SetLogLevel(LogLevel level) { Logger().set_level(ToSpdlog(level)); }

}  // namespace thinkwire
