#include "common/file_watch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace thinkwire {
namespace {

class FileWatchTest : public testing::Test {
 protected:
  static constexpr Clock::Duration kOften = std::chrono::milliseconds(2);

  FileWatchTest() {
    std::string name = absl::StrCat(testing::TempDir(), "watch-XXXXXX");
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    Write("a", "one");
  }
  ~FileWatchTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  // Looks until so many changes were told of.
  void WaitFor(int changes) const {
    const auto give_up = Clock::Real().Now() + std::chrono::seconds(60);
    while (changes_ < changes && Clock::Real().Now() < give_up) std::this_thread::yield();
    EXPECT_EQ(changes_, changes);
  }

  std::filesystem::path folder_;
  std::atomic<int> changes_ = 0;
};

TEST_F(FileWatchTest, TellsOnceOfAWriteARenameARemovalAndANewFile) {
  FileWatch watch(
      {folder_ / "a"}, [&] { ++changes_; }, kOften);
  watch.Start();
  Write("a", "other");
  WaitFor(1);
  Write("b", "third");
  std::filesystem::rename(folder_ / "b", folder_ / "a");
  WaitFor(2);
  std::filesystem::remove(folder_ / "a");
  WaitFor(3);
  Write("a", "fourth");
  WaitFor(4);
}

// Kubernetes' way: the file is a link through a folder that is swapped.
TEST_F(FileWatchTest, TellsOfALinkThatLeadsElsewhere) {
  for (const char* version : {"v1", "v2"}) {
    std::filesystem::create_directory(folder_ / version);
    std::ofstream(folder_ / version / "a") << "same";
  }
  std::filesystem::create_directory_symlink("v1", folder_ / "data");
  FileWatch watch(
      {folder_ / "data" / "a"}, [&] { ++changes_; }, kOften);
  watch.Start();
  std::filesystem::create_directory_symlink("v2", folder_ / "fresh");
  std::filesystem::rename(folder_ / "fresh", folder_ / "data");
  WaitFor(1);
}

TEST_F(FileWatchTest, TellsOfWhatChangedBetweenItsMakingAndItsStart) {
  FileWatch watch(
      {folder_ / "a", folder_ / "none"}, [&] { ++changes_; }, kOften);
  Write("a", "other");
  watch.Start();
  WaitFor(1);
}

TEST_F(FileWatchTest, WhoAsksIsToldAtOnceAndDoesNotWaitForWhatIsUnderWay) {
  std::promise<void> done;
  FileWatch watch(
      {folder_ / "a"},
      [&, end = done.get_future().share()] {
        ++changes_;
        end.wait();
      },
      std::chrono::hours(1));
  Write("a", "other");
  watch.Start();
  watch.Ask();
  WaitFor(1);
  for (int i = 0; i < 3; ++i) watch.Ask();
  done.set_value();
  WaitFor(2);
}

TEST_F(FileWatchTest, WhatWasToldToWhoAskedIsNotToldAgain) {
  FileWatch watch(
      {folder_ / "a"}, [&] { ++changes_; }, kOften);
  Write("a", "other");
  watch.Ask();
  watch.Start();
  WaitFor(1);
  Write("a", "a third");
  WaitFor(2);
}

TEST_F(FileWatchTest, MayEndBeforeItsStart) {
  const FileWatch watch(
      {folder_ / "a"}, [&] { ++changes_; }, kOften);
  EXPECT_EQ(changes_, 0);
}

}  // namespace
}  // namespace thinkwire
