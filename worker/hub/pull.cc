#include "worker/hub/pull.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/hub/blob_lock.h"
#include "worker/hub/cache.h"
#include "worker/hub/hub_api.h"
#include "worker/hub/model_contents.h"
#include "worker/hub/storage.h"

namespace thinkwire::worker::hub {
namespace {

namespace fs = std::filesystem;

bool Contains(const std::vector<std::string>& files, const std::string& file) {
  return std::ranges::find(files, file) != files.end();
}

absl::Status NoCheckpoint(const std::string& repo, const HubRevision& revision,
                          const std::string& missing) {
  const bool gguf = std::ranges::any_of(
      revision.files, [](const std::string& file) { return absl::EndsWith(file, ".gguf"); });
  return absl::NotFoundError(absl::StrCat(
      repo, " has no ", missing, ", so that it is no checkpoint that a worker reads",
      gguf ? "; it has GGUF files: download one of them, and give its path to --model" : ""));
}

// One pull, from what the revision means to its last file.
class Pulling {
 public:
  Pulling(const PullOptions& options, const DownloadOptions& download, Progress& progress)
      : options_(options),
        download_(download),
        progress_(progress),
        api_(options.settings.endpoint, download.http) {}

  absl::StatusOr<fs::path> Run() {
    ASSIGN_OR_RETURN(revision_, api_.Ask(options_.name));
    const HubCache cache(options_.settings.cache);
    storage_ = options_.local_dir.empty() ? StoreInCache(cache, options_.name, revision_.commit)
                                          : StoreInFolder(options_.local_dir, revision_.commit);
    for (const std::string& file : RequiredFiles()) {
      if (!Contains(revision_.files, file)) return NoCheckpoint(repo(), revision_, file);
    }
    RETURN_IF_ERROR(BringAll(SmallFiles(revision_.files)));
    ASSIGN_OR_RETURN(const std::vector<std::string> weights, WeightFiles(storage_->folder()));
    RETURN_IF_ERROR(BringAll(weights));
    RETURN_IF_ERROR(storage_->Finish());
    return storage_->folder();
  }

 private:
  const std::string& repo() const { return options_.name.repo; }

  // Knows the size of all before it begins with one.
  absl::Status BringAll(const std::vector<std::string>& paths) {
    std::vector<HubFile> files;
    for (const std::string& path : paths) {
      if (!Contains(revision_.files, path)) return NoCheckpoint(repo(), revision_, path);
      ASSIGN_OR_RETURN(HubFile file, api_.Stat(repo(), revision_.commit, path));
      progress_.Expect(file.bytes);
      files.push_back(std::move(file));
    }
    RETURN_IF_ERROR(CheckRoom(files));
    for (const HubFile& file : files) RETURN_IF_ERROR(Bring(file));
    return absl::OkStatus();
  }

  absl::Status CheckRoom(const std::vector<HubFile>& files) const {
    std::int64_t needed = 0;
    for (const HubFile& file : files) {
      if (storage_->Has(file)) continue;
      const Place place = storage_->PlaceOf(file);
      RETURN_IF_ERROR(storage_->Prepare(place));
      std::error_code absent;
      const std::uintmax_t there = fs::file_size(place.incomplete, absent);
      needed += file.bytes - (absent ? 0 : static_cast<std::int64_t>(there));
    }
    if (needed <= 0) return absl::OkStatus();
    needed += download_.piece_bytes;  // one is there twice as it moves
    const fs::path where = storage_->PlaceOf(files.front()).target.parent_path();
    std::error_code unknown;
    const fs::space_info space = fs::space(where, unknown);
    if (unknown || space.available >= static_cast<std::uintmax_t>(needed)) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(where.string(), ": ", needed,
                                                     " bytes are needed for ", repo(), ", ",
                                                     space.available, " are free"));
  }

  absl::Status Bring(const HubFile& file) {
    progress_.Begin(file.path);
    if (storage_->Has(file)) {
      progress_.Have(file.bytes);
      return storage_->Settle(file);
    }
    const Place place = storage_->PlaceOf(file);
    RETURN_IF_ERROR(storage_->Prepare(place));
    const auto wait = [&] {
      if (options_.on_wait) options_.on_wait(file.path);
    };
    ASSIGN_OR_RETURN(const BlobLock lock, BlobLock::Take(place.lock, download_.http.stop, wait));
    if (storage_->Has(file)) {
      progress_.Have(file.bytes);
    } else {
      RETURN_IF_ERROR(DownloadBlob({.url = file.url,
                                    .name = file.path,
                                    .etag = file.etag,
                                    .bytes = file.bytes,
                                    .target = place.target,
                                    .incomplete = place.incomplete},
                                   download_, progress_));
    }
    return storage_->Settle(file);
  }

  const PullOptions& options_;
  const DownloadOptions& download_;
  Progress& progress_;
  HubApi api_;
  HubRevision revision_{};
  std::unique_ptr<Storage> storage_;
};

}  // namespace

absl::StatusOr<fs::path> Pull(const PullOptions& options, Progress& progress) {
  if (options.settings.offline) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.name.repo, "@", options.name.revision,
                     " is not all here, and HF_HUB_OFFLINE forbids to ask the hub"));
  }
  DownloadOptions download = options.download;
  download.http.token = options.settings.token;
  download.http.ca = options.settings.ca.string();
  download.http.silence_s = options.settings.download_timeout_s;
  return Pulling(options, download, progress).Run();
}

}  // namespace thinkwire::worker::hub
