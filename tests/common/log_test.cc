#include "common/log.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace thinkwire {
namespace {

TEST(Log, WritesOneJsonObjectWithTypedFields) {
  const std::string line =
      FormatLogRecord("2026-01-02T03:04:05Z", LogLevel::kWarning, "worker lost",
                      {{"port", 50061},
                       {"seed", std::numeric_limits<std::uint64_t>::max()},
                       {"live", false},
                       {"seconds", 0.5},
                       {"worker", "a:1"}});
  EXPECT_EQ(line, R"({"time":"2026-01-02T03:04:05Z","level":"warning","message":"worker lost",)"
                  R"("port":50061,"seed":18446744073709551615,"live":false,"seconds":0.5,)"
                  R"("worker":"a:1"})");
}

TEST(Log, NoTextCanForgeALine) {
  const std::string hostile("a\r\n{\"level\":\"error\"}\x1b[2J\0\xff\"", 27);
  const std::string line = FormatLogRecord("t", LogLevel::kInfo, "m", {{"model", hostile}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(line.find('\r'), std::string::npos);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  const auto record = nlohmann::json::parse(line);
  EXPECT_EQ(record["level"], "info");
  EXPECT_EQ(record.size(), 4u);
}

TEST(Log, CutsLongTexts) {
  const std::string line =
      FormatLogRecord("t", LogLevel::kInfo, "m", {{"name", std::string(1 << 20, 'x')}});
  EXPECT_LT(line.size(), 5000u);
  EXPECT_NE(line.find("(1048576 bytes)"), std::string::npos);
}

}  // namespace
}  // namespace thinkwire
