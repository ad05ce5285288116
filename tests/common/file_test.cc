#include "common/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace thinkwire {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(fs::path(testing::TempDir()) / ("file_test_" + std::to_string(getpid()))) {
    fs::create_directory(folder_);
  }
  ~FileTest() override { fs::remove_all(folder_); }

  std::string Refusal(const fs::path& path, std::size_t max_bytes = 100) const {
    const auto text = ReadFile(path, max_bytes);
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_TRUE(text.status().message().find(path.string() + ": ") == 0) << text.status();
    return std::string(text.status().message());
  }

  const fs::path folder_;
};

TEST_F(FileTest, GivesEveryByteOfARegularFileAndOfALinkToIt) {
  const std::string bytes("a\0\xff\n", 4);
  std::ofstream(folder_ / "a", std::ios::binary) << bytes;
  fs::create_symlink("a", folder_ / "b");
  std::ofstream(folder_ / "empty");
  EXPECT_EQ(*ReadFile(folder_ / "a", 4), bytes);
  EXPECT_EQ(*ReadFile(folder_ / "b", 4), bytes);
  EXPECT_EQ(*ReadFile(folder_ / "empty", 0), "");
}

TEST_F(FileTest, RefusesWhatIsTooLongUnread) {
  std::ofstream(folder_ / "a") << "12345";
  fs::resize_file(folder_ / "a", std::uintmax_t{1} << 40);  // sparse
  EXPECT_THAT(Refusal(folder_ / "a"), HasSubstr("1099511627776 bytes; at most 100 are read"));
}

TEST_F(FileTest, RefusesWhatIsNoRegularFileAndWaitsForNone) {
  EXPECT_THAT(Refusal("/dev/zero"), HasSubstr("not a regular file"));
  EXPECT_THAT(Refusal(folder_), HasSubstr("not a regular file"));
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(Refusal(folder_ / "pipe"), HasSubstr("not a regular file"));
  fs::create_symlink("loop", folder_ / "loop");
  EXPECT_THAT(Refusal(folder_ / "loop"), HasSubstr("cannot be read: "));
}

TEST_F(FileTest, SaysThatThereIsNone) {
  for (const fs::path& path : {folder_ / "none", fs::path("/dev/null/x")}) {
    EXPECT_EQ(ReadFile(path, 1).status(), absl::NotFoundError(path.string() + ": no such file"));
  }
}

}  // namespace
}  // namespace thinkwire
