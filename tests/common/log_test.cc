#include "common/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

TEST(Log, LeavesNothingForATerminalToObey) {
  const std::string line =
      FormatLogRecord("t", LogLevel::kInfo, "m", {{"model", "\x7f\xc2\x9b[31m \xe2\x80\xa8 \xc3"}});
  for (const char c : line) EXPECT_TRUE(c >= ' ' && c <= '~') << line;
  EXPECT_TRUE(nlohmann::json::parse(line).is_object());
}

TEST(Log, CutsLongTextsUntilTheRecordFits) {
  const std::string letters(1 << 20, 'x');
  const std::string controls(1 << 20, '\x01');  // six bytes each, once escaped
  for (const std::string& text : {letters, controls}) {
    const std::string line =
        FormatLogRecord("t", LogLevel::kInfo, text, {{"name", text}, {"short", "kept"}});
    EXPECT_LT(line.size(), kMaxLogRecordBytes);
    const auto record = nlohmann::json::parse(line);
    EXPECT_TRUE(record["name"].get<std::string>().ends_with("... (1048576 bytes)"));
    EXPECT_EQ(record["short"], "kept");
  }
}

// Lets stderr be `fd` for a while.
class StderrIs {
 public:
  explicit StderrIs(int fd) : saved_(dup(STDERR_FILENO)) { dup2(fd, STDERR_FILENO); }
  ~StderrIs() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }

 private:
  const int saved_;
};

TEST(Log, CountsWhatAFullDiskDrops) {
  const int full = open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  const std::uint64_t before = NumDroppedLogRecords();
  {
    const StderrIs stderr_is(full);
    LogInfo("one");
    LogDebug("none, at this level");
    LogError("two");
  }
  EXPECT_EQ(NumDroppedLogRecords(), before + 2);
  close(full);
}

TEST(Log, NeverWaitsForAReaderAndCountsWhatHeMisses) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const std::uint64_t before = NumDroppedLogRecords();
  constexpr int kRecords = 5000;
  {
    const StderrIs stderr_is(ends[1]);
    const LogRate all = {.burst = kRecords};
    for (int i = 0; i < kRecords; ++i) LogInfo("a record", {{"i", i}}, all);
  }
  close(ends[1]);
  std::string read_back;
  std::array<char, 4096> buffer{};
  for (ssize_t n; (n = read(ends[0], buffer.data(), buffer.size())) > 0;) {
    read_back.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(ends[0]);
  const auto kept = static_cast<std::uint64_t>(std::ranges::count(read_back, '\n'));
  EXPECT_GT(kept, 0u);
  EXPECT_LT(kept, std::uint64_t{kRecords});
  EXPECT_EQ(NumDroppedLogRecords() - before, kRecords - kept);
}

TEST(Log, WritesSoManyOfAKindAndTellsHowManyMoreThereWere) {
  const std::string path = testing::TempDir() + "log_of_a_kind-" + std::to_string(getpid());
  const int file = open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR, 0600);
  unlink(path.c_str());
  ASSERT_GE(file, 0);
  const std::uint64_t before = NumSuppressedLogRecords();
  {
    const StderrIs stderr_is(file);
    for (int i = 0; i < 100; ++i) LogInfo("a flood", {{"i", i}}, {.a_second = 0, .burst = 3});
    LogInfo("another kind");
    LogInfo("a flood", {}, {.a_second = 1e9, .burst = 3});  // its rate lets it pass again
  }
  std::string written(4096, ' ');
  written.resize(static_cast<std::size_t>(pread(file, written.data(), written.size(), 0)));
  close(file);
  EXPECT_EQ(NumSuppressedLogRecords() - before, 97U);
  EXPECT_EQ(std::ranges::count(written, '\n'), 6) << written;
  EXPECT_NE(written.find("another kind"), std::string::npos);
  EXPECT_NE(written.find(R"("message":"log records suppressed","of":"a flood","records":97)"),
            std::string::npos)
      << written;
}

TEST(Log, CountsWhatAClosedPipeDrops) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  auto* const handler = signal(SIGPIPE, SIG_IGN);
  const std::uint64_t before = NumDroppedLogRecords();
  {
    const StderrIs stderr_is(ends[1]);
    LogInfo("into the void");
  }
  signal(SIGPIPE, handler);
  close(ends[1]);
  EXPECT_EQ(NumDroppedLogRecords(), before + 1);
}

TEST(Log, LevelsHaveTheNamesThatRecordsSay) {
  for (const std::string name : {"debug", "info", "warning", "error"}) {
    EXPECT_NE(std::string(kLogLevels).find(name), std::string::npos);
    EXPECT_NE(FormatLogRecord("t", LogLevelByName(name), "m", {}).find("\"level\":\"" + name),
              std::string::npos);
  }
}

TEST(Log, RecordsBelowTheLevelAreNotWritten) {
  SetLogLevel(LogLevel::kWarning);
  testing::internal::CaptureStderr();
  LogInfo("not this");
  LogWarning("this");
  SetLogLevel(LogLevel::kInfo);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("not this"), std::string::npos);
  EXPECT_NE(log.find("this"), std::string::npos);
}

}  // namespace
}  // namespace thinkwire
