#include "worker/hub/cache.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/file.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/hub/model_contents.h"

namespace thinkwire::worker::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModels = "models--";
constexpr std::size_t kMaxRefBytes = 200;

std::string FolderName(const std::string& repo) {
  return absl::StrCat("models--", absl::StrReplaceAll(repo, {{"/", "--"}}));
}

// The other way; empty for a folder that is no model's.
std::string RepoOf(const std::string& folder_name) {
  if (!folder_name.starts_with(kModels)) return "";
  std::string repo = folder_name.substr(kModels.size());
  const std::size_t separator = repo.find("--");
  if (separator == repo.npos) return "";
  repo.replace(separator, 2, "/");
  return IsRepo(repo) ? repo : "";
}

// The names in a folder, sorted; none where it cannot be read.
std::vector<std::string> NamesIn(const fs::path& folder) {
  std::error_code unreadable;
  std::set<std::string> names;
  for (fs::directory_iterator entry(folder, unreadable), end; !unreadable && entry != end;
       entry.increment(unreadable)) {
    names.insert(entry->path().filename().string());
  }
  return {names.begin(), names.end()};
}

// Small files that the hub has said to be in the commit, if anybody has written that down.
std::vector<std::string> ListedFiles(const fs::path& tree) {
  std::vector<std::string> paths;
  const auto json = ReadJsonFile(tree);
  if (!json.ok()) return paths;
  const auto files = json->find("files");
  if (files == json->end() || !files->is_object()) return paths;
  for (const auto& entry : files->items()) paths.push_back(entry.key());
  return SmallFiles(paths);
}

// By commit: the revisions whose files in `refs` name it.
std::map<std::string, std::vector<std::string>> Revisions(const HubCache& cache,
                                                          const std::string& repo) {
  std::map<std::string, std::vector<std::string>> out;
  const fs::path refs = cache.RepoFolder(repo) / "refs";
  std::error_code unreadable;
  for (fs::recursive_directory_iterator entry(refs, unreadable), end; !unreadable && entry != end;
       entry.increment(unreadable)) {
    const std::string revision = entry->path().lexically_relative(refs).string();
    if (!entry->is_regular_file(unreadable)) continue;
    const auto commit = cache.Commit(repo, revision);
    if (commit.ok()) out[*commit].push_back(revision);
  }
  for (auto& [commit, revisions] : out) std::ranges::sort(revisions);
  return out;
}

}  // namespace

fs::path HubCache::RepoFolder(const std::string& repo) const { return root_ / FolderName(repo); }

fs::path HubCache::Ref(const std::string& repo, const std::string& revision) const {
  return RepoFolder(repo) / "refs" / revision;
}

fs::path HubCache::Snapshot(const std::string& repo, const std::string& commit) const {
  return RepoFolder(repo) / "snapshots" / commit;
}

fs::path HubCache::Blob(const std::string& repo, const std::string& etag) const {
  return RepoFolder(repo) / "blobs" / etag;
}

fs::path HubCache::Lock(const std::string& repo, const std::string& etag) const {
  return root_ / ".locks" / FolderName(repo) / absl::StrCat(etag, ".lock");
}

absl::StatusOr<std::string> HubCache::Commit(const std::string& repo,
                                             const std::string& revision) const {
  if (IsCommit(revision)) return revision;
  const fs::path ref = Ref(repo, revision);
  ASSIGN_OR_RETURN(std::string commit, ReadFile(ref, kMaxRefBytes));
  absl::StripAsciiWhitespace(&commit);
  if (IsCommit(commit)) return commit;
  return absl::InvalidArgumentError(
      absl::StrCat(ref.string(), ": '", ShownText(commit), "' is no commit"));
}

CachedModel HubCache::Describe(const std::string& repo, const std::string& commit) const {
  CachedModel model{.repo = repo, .commit = commit, .folder = Snapshot(repo, commit)};
  std::set<std::string> needed(RequiredFiles().begin(), RequiredFiles().end());
  const fs::path tree = RepoFolder(repo) / "trees" / absl::StrCat(commit, ".json");
  for (std::string& file : ListedFiles(tree)) needed.insert(std::move(file));
  std::set<std::string> all = needed;
  for (std::string& file : SmallFiles(NamesIn(model.folder))) all.insert(std::move(file));
  const auto weights = WeightFiles(model.folder);
  if (weights.ok()) all.insert(weights->begin(), weights->end());
  if (!weights.ok()) model.missing.emplace_back(kIndexFile);  // a broken one is as none
  for (const std::string& file : all) {
    std::error_code absent;
    const std::uintmax_t bytes = fs::file_size(model.folder / file, absent);
    if (absent) {
      model.missing.push_back(file);
    } else {
      model.bytes += static_cast<std::int64_t>(bytes);
    }
  }
  return model;
}

absl::StatusOr<CachedModel> HubCache::Find(const ModelName& name) const {
  ASSIGN_OR_RETURN(const std::string commit, Commit(name.repo, name.revision));
  const fs::path folder = Snapshot(name.repo, commit);
  std::error_code unreadable;
  if (!fs::is_directory(folder, unreadable)) {
    return absl::NotFoundError(absl::StrCat(folder.string(), ": no such folder"));
  }
  CachedModel model = Describe(name.repo, commit);
  model.revisions = {name.revision};
  return model;
}

std::vector<CachedModel> HubCache::List() const {
  std::vector<CachedModel> out;
  for (const std::string& folder : NamesIn(root_)) {
    const std::string repo = RepoOf(folder);
    if (repo.empty()) continue;
    auto revisions = Revisions(*this, repo);
    for (const std::string& commit : NamesIn(root_ / folder / "snapshots")) {
      if (!IsCommit(commit)) continue;
      CachedModel model = Describe(repo, commit);
      model.revisions = std::move(revisions[commit]);
      out.push_back(std::move(model));
    }
  }
  return out;
}

}  // namespace thinkwire::worker::hub
