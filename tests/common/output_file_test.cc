#include "common/output_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "common/status.h"

namespace thinkwire {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class OutputFileTest : public testing::Test {
 protected:
  OutputFileTest()
      : folder_(fs::path(testing::TempDir()) / ("output_file_test_" + std::to_string(getpid()))) {
    fs::create_directory(folder_);
  }
  ~OutputFileTest() override { fs::remove_all(folder_); }

  std::string Content(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(folder_ / name, std::ios::binary).rdbuf();
    return text.str();
  }

  const fs::path folder_;
};

absl::Status WriteText(const fs::path& path, const std::string& text) {
  ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  RETURN_IF_ERROR(file.Write(text));
  return file.Finish();
}

TEST_F(OutputFileTest, HoldsWhatWasWrittenInOrder) {
  auto file = OutputFile::Create(folder_ / "x");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->Write("ab").ok());
  EXPECT_TRUE(file->Pad(130).ok());
  EXPECT_TRUE(file->Write("c").ok());
  EXPECT_TRUE(file->Finish().ok());
  EXPECT_EQ(Content("x"), "ab" + std::string(130, '\0') + "c");
}

TEST_F(OutputFileTest, WritesOverNoFile) {
  std::ofstream(folder_ / "x") << "mine";
  const auto file = OutputFile::Create(folder_ / "x");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("x: cannot be written: "));
  EXPECT_EQ(Content("x"), "mine");
}

TEST_F(OutputFileTest, SaysWhatTheSystemSays) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {.rlim_cur = 50, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status written = WriteText(folder_ / "x", std::string(100, 'a'));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(written.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(written.message()), HasSubstr("x: cannot be written: File too large"));
}

TEST_F(OutputFileTest, AWholeFolderAppearsUnderItsName) {
  for (const std::string name : {"whole", "slash/"}) {
    const absl::Status status = WriteWhole(folder_ / name, [](const fs::path& partial) {
      EXPECT_TRUE(partial.string().ends_with(".partial"));
      fs::create_directory(partial);
      return WriteText(partial / "x", "text");
    });
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(Content("whole/x"), "text");
  EXPECT_EQ(Content("slash/x"), "text");
  EXPECT_FALSE(fs::exists(folder_ / "whole.partial"));
}

TEST_F(OutputFileTest, AWholeFileNeedsNoFolderInItsName) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  const absl::Status status =
      WriteWhole("plain", [](const fs::path& partial) { return WriteText(partial, "text"); });
  fs::current_path(before);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Content("plain"), "text");
}

TEST_F(OutputFileTest, NothingIsLeftOfWhatFailed) {
  const absl::Status status = WriteWhole(folder_ / "whole", [](const fs::path& partial) {
    fs::create_directory(partial);
    EXPECT_TRUE(WriteText(partial / "x", "text").ok());
    return absl::InvalidArgumentError("half way");
  });
  EXPECT_EQ(status, absl::InvalidArgumentError("half way"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(OutputFileTest, NothingIsBegunWhereSomethingIs) {
  const auto refused = [this](const std::string& there) {
    std::ofstream(folder_ / there) << "mine";
    const absl::Status status = WriteWhole(folder_ / "whole", [](const fs::path&) {
      ADD_FAILURE();
      return absl::OkStatus();
    });
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << there;
    EXPECT_EQ(Content(there), "mine");
    fs::remove(folder_ / there);
  };
  refused("whole");
  refused("whole.partial");
}

}  // namespace
}  // namespace thinkwire
