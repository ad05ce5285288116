#include "worker/hub/storage.h"

#include <unistd.h>

#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace thinkwire::worker::hub {
namespace {

namespace fs = std::filesystem;

absl::Status Failure(const fs::path& path, const std::error_code& error) {
  return absl::FailedPreconditionError(
      absl::StrCat(path.string(), ": cannot be made: ", error.message()));
}

absl::Status MakeFolder(const fs::path& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  return failed ? Failure(folder, failed) : absl::OkStatus();
}

// A name for something that gets its own by a rename.
fs::path Nameless(const fs::path& path) {
  return absl::StrCat(path.string(), ".", ::getpid(), ".tmp");
}

class CacheStorage final : public Storage {
 public:
  CacheStorage(const HubCache& cache, ModelName name, std::string commit)
      : cache_(cache),
        name_(std::move(name)),
        commit_(std::move(commit)),
        folder_(cache_.Snapshot(name_.repo, commit_)) {}

  const fs::path& folder() const override { return folder_; }

  Place PlaceOf(const HubFile& file) const override {
    const fs::path blob = cache_.Blob(name_.repo, file.etag);
    return {.target = blob,
            .incomplete = absl::StrCat(blob.string(), ".incomplete"),
            .lock = cache_.Lock(name_.repo, file.etag)};
  }

  bool Has(const HubFile& file) const override {
    std::error_code absent;
    return fs::exists(cache_.Blob(name_.repo, file.etag), absent);
  }

  absl::Status Settle(const HubFile& file) override {
    const fs::path link = folder_ / file.path;
    std::error_code failed;
    if (fs::exists(link, failed)) return absl::OkStatus();
    RETURN_IF_ERROR(MakeFolder(link.parent_path()));
    const fs::path made = Nameless(link);
    fs::remove(made, failed);
    const fs::path blob = cache_.Blob(name_.repo, file.etag);
    fs::create_symlink(blob.lexically_relative(link.parent_path()), made, failed);
    if (!failed) fs::rename(made, link, failed);
    return failed ? Failure(link, failed) : absl::OkStatus();
  }

  absl::Status Finish() override {
    if (IsCommit(name_.revision)) return absl::OkStatus();
    const auto known = cache_.Commit(name_.repo, name_.revision);
    if (known.ok() && *known == commit_) return absl::OkStatus();  // it may be read-only
    const fs::path ref = cache_.Ref(name_.repo, name_.revision);
    RETURN_IF_ERROR(MakeFolder(ref.parent_path()));
    const fs::path made = Nameless(ref);
    std::ofstream(made) << commit_;
    std::error_code failed;
    fs::rename(made, ref, failed);
    return failed ? Failure(ref, failed) : absl::OkStatus();
  }

 private:
  const HubCache cache_;
  const ModelName name_;
  const std::string commit_;
  const fs::path folder_;
};

}  // namespace

absl::Status Storage::Prepare(const Place& place) const {
  RETURN_IF_ERROR(MakeFolder(place.target.parent_path()));
  return MakeFolder(place.incomplete.parent_path());
}

std::unique_ptr<Storage> StoreInCache(const HubCache& cache, const ModelName& name,
                                      const std::string& commit) {
  return std::make_unique<CacheStorage>(cache, name, commit);
}

}  // namespace thinkwire::worker::hub
