#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/hub/model_name.h"

namespace thinkwire::worker::hub {

// A commit of a model, as the cache has it.
struct CachedModel {
  std::string repo{};
  std::string commit{};
  std::vector<std::string> revisions{};  // that mean it here, sorted
  std::filesystem::path folder{};        // with the model's files
  std::vector<std::string> missing{};    // files that a worker needs; empty: it can be served
  std::int64_t bytes = 0;                // of the files that are there
};

// The cache that huggingface_hub keeps, and everybody with it:
//
//   ROOT/models--org--name/refs/main             the commit that "main" means
//                         /snapshots/COMMIT/F    a link to
//                         /blobs/ETAG            the file's bytes
//                         /trees/COMMIT.json     what files the commit has, where that was asked
//       /.locks/models--org--name/ETAG.lock      held by who downloads that blob
//
// (huggingface_hub 2.4, file_download.py and _tree_cache.py). Threads: immutable; the folders are
// whoever's.
class HubCache {
 public:
  explicit HubCache(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path RepoFolder(const std::string& repo) const;
  std::filesystem::path Ref(const std::string& repo, const std::string& revision) const;
  std::filesystem::path Snapshot(const std::string& repo, const std::string& commit) const;
  std::filesystem::path Blob(const std::string& repo, const std::string& etag) const;
  std::filesystem::path Lock(const std::string& repo, const std::string& etag) const;

  // The commit that a revision meant when it was last asked for; a commit means itself.
  // Fails: NOT_FOUND it never was; INVALID_ARGUMENT its file holds no commit.
  absl::StatusOr<std::string> Commit(const std::string& repo, const std::string& revision) const;

  // What is there of a model. Fails: as Commit; NOT_FOUND nothing is there of that commit.
  absl::StatusOr<CachedModel> Find(const ModelName& name) const;

  // Every commit of every model, by name; what is not as it should be is left out.
  std::vector<CachedModel> List() const;

 private:
  CachedModel Describe(const std::string& repo, const std::string& commit) const;

  std::filesystem::path root_;
};

}  // namespace thinkwire::worker::hub
