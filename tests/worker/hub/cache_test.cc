#include "worker/hub/cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace thinkwire::worker::hub {
namespace {

namespace fs = std::filesystem;

constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";
constexpr char kOther[] = "89abcdef0123456789abcdef0123456789abcdef";

class HubCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(cache_.root());
    fs::create_directories(cache_.root());
  }
  void TearDown() override { fs::remove_all(cache_.root()); }
  void Write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void Refer(const std::string& revision, const std::string& commit) {
    Write(cache_.Ref(kRepo, revision), commit);
  }
  // As huggingface_hub does: a blob, and a link to it.
  void Add(const std::string& commit, const std::string& file, const std::string& text) {
    const std::string etag = absl::StrCat("etag-of-", file);
    Write(cache_.Blob(kRepo, etag), text);
    fs::create_directories(cache_.Snapshot(kRepo, commit));
    fs::create_symlink(absl::StrCat("../../blobs/", etag), cache_.Snapshot(kRepo, commit) / file);
  }
  void AddWhole(const std::string& commit) {
    Add(commit, "config.json", "{}");
    Add(commit, "tokenizer.json", "{}");
    Add(commit, "model.safetensors", "weights");
  }

  const std::string kRepo = "org/model";
  const HubCache cache_{fs::path(testing::TempDir()) / absl::StrCat("hub-cache-", getpid())};
};

TEST_F(HubCacheTest, NamesPathsAsHuggingfaceHubDoes) {
  const HubCache cache("/c");
  EXPECT_EQ(cache.Ref(kRepo, "refs/pr/1"), "/c/models--org--model/refs/refs/pr/1");
  EXPECT_EQ(cache.Snapshot(kRepo, kCommit),
            absl::StrCat("/c/models--org--model/snapshots/", kCommit));
  EXPECT_EQ(cache.Blob(kRepo, "e"), "/c/models--org--model/blobs/e");
  EXPECT_EQ(cache.Lock(kRepo, "e"), "/c/.locks/models--org--model/e.lock");
}

TEST_F(HubCacheTest, FindsAWholeModelByBranchAndByCommit) {
  AddWhole(kCommit);
  Refer("main", kCommit);
  for (const char* revision : {"main", kCommit}) {
    const auto model = cache_.Find({.repo = kRepo, .revision = revision});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->folder, cache_.Snapshot(kRepo, kCommit));
    EXPECT_TRUE(model->missing.empty());
    EXPECT_EQ(model->bytes, 11);
  }
}

TEST_F(HubCacheTest, SaysWhatIsMissing) {
  Add(kCommit, "config.json", "{}");
  Add(kCommit, "model.safetensors.index.json",
      R"({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})");
  Add(kCommit, "b.safetensors", "weights");
  Refer("main", kCommit);
  const std::vector<std::string> missing = {"a.safetensors", "tokenizer.json"};
  EXPECT_EQ(cache_.Find({.repo = kRepo})->missing, missing);
}

TEST_F(HubCacheTest, ALinkToABlobThatIsGoneIsNoFile) {
  AddWhole(kCommit);
  fs::remove(cache_.Blob(kRepo, "etag-of-config.json"));
  const std::vector<std::string> missing = {"config.json"};
  EXPECT_EQ(cache_.Find({.repo = kRepo, .revision = kCommit})->missing, missing);
}

TEST_F(HubCacheTest, BelievesTheTreeThatSomebodyWroteDown) {
  AddWhole(kCommit);
  Write(cache_.RepoFolder(kRepo) / "trees" / absl::StrCat(kCommit, ".json"),
        R"({"format_version": 1, "files": {"README.md": {}, "generation_config.json": {}}})");
  const std::vector<std::string> missing = {"generation_config.json"};
  EXPECT_EQ(cache_.Find({.repo = kRepo, .revision = kCommit})->missing, missing);
}

TEST_F(HubCacheTest, FindsNothingWhereNothingIs) {
  EXPECT_EQ(cache_.Find({.repo = kRepo}).status().code(), absl::StatusCode::kNotFound);
  Refer("main", kCommit);
  EXPECT_EQ(cache_.Find({.repo = kRepo}).status().code(), absl::StatusCode::kNotFound);
  Refer("main", "../../../etc");
  EXPECT_EQ(cache_.Find({.repo = kRepo}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(HubCacheTest, ListsEveryCommitAndNothingElse) {
  AddWhole(kCommit);
  Add(kOther, "config.json", "{}");
  Refer("main", kCommit);
  Refer("refs/pr/1", kCommit);
  Refer("broken", "x");
  fs::create_directories(cache_.root() / "datasets--org--data" / "snapshots" / kCommit);
  fs::create_directories(cache_.root() / "models--gpt2" / "snapshots" / kCommit);
  fs::create_directories(cache_.root() / "models--org--model" / "snapshots" / "nothing");
  const std::vector<CachedModel> models = cache_.List();
  ASSERT_EQ(models.size(), 2U);
  const std::vector<std::string> revisions = {"main", "refs/pr/1"};
  EXPECT_EQ(models[0].commit, kCommit);
  EXPECT_EQ(models[0].revisions, revisions);
  EXPECT_TRUE(models[0].missing.empty());
  EXPECT_EQ(models[1].commit, kOther);
  EXPECT_TRUE(models[1].revisions.empty());
  EXPECT_FALSE(models[1].missing.empty());
}

}  // namespace
}  // namespace thinkwire::worker::hub
