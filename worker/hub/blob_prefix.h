#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/hub/blob_download.h"
#include "worker/hub/growing_file.h"
#include "worker/hub/piece_plan.h"
#include "worker/hub/summed_file.h"

namespace thinkwire::worker::hub {

// The file in which a range waits that begins at `first`.
std::filesystem::path WaitingFile(const BlobRequest& request, std::int64_t first);

// Removes all of them.
void RemoveWaitingFiles(const BlobRequest& request);

// Renames what another process has left of the file to `request.incomplete`, if nothing is there
// and that may be a beginning of it.
void TakeUpLeftovers(const BlobRequest& request);

// The beginning of a file that is being brought, with the digest of what is in it. Owns: the file.
// Threads: one at a time. Fails: as SummedFile.
class BlobPrefix {
 public:
  // Takes what is there, and puts waiting ranges onto it as far as they follow it; one that is too
  // long to be of this file is emptied. `request` outlives it.
  static absl::StatusOr<std::unique_ptr<BlobPrefix>> Open(const BlobRequest& request,
                                                          std::int64_t piece_bytes);

  ~BlobPrefix() = default;
  BlobPrefix(const BlobPrefix&) = delete;
  BlobPrefix& operator=(const BlobPrefix&) = delete;

  std::int64_t size() const { return file_.size(); }

  absl::Status Append(std::string_view bytes);
  // Moves what waits of the piece, and is not here yet, to the end.
  absl::Status AppendWaiting(const Piece& piece);

  // Gives the whole its name. Fails also: DATA_LOSS its digest is another, with both.
  // REQUIRES: nothing after it.
  absl::Status Finish();

 private:
  BlobPrefix(const BlobRequest& request, GrowingFile file);

  absl::Status Absorb(std::int64_t piece_bytes);

  const BlobRequest& request_;
  SummedFile file_;
};

}  // namespace thinkwire::worker::hub
