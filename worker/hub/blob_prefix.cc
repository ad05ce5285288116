#include "worker/hub/blob_prefix.h"

#include <algorithm>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace thinkwire::worker::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kCopyBytes = 1 << 20;

// Calls `visit` with each file beside the incomplete one.
template <class Visit>
void ForEachNeighbour(const BlobRequest& request, Visit visit) {
  std::error_code unreadable;
  for (fs::directory_iterator entry(request.incomplete.parent_path(), unreadable), end;
       !unreadable && entry != end; entry.increment(unreadable)) {
    visit(*entry);
  }
}

}  // namespace

fs::path WaitingFile(const BlobRequest& request, std::int64_t first) {
  return absl::StrCat(request.incomplete.string(), ".", first);
}

void RemoveWaitingFiles(const BlobRequest& request) {
  const std::string begin = absl::StrCat(request.incomplete.filename().string(), ".");
  std::vector<fs::path> files;
  ForEachNeighbour(request, [&](const fs::directory_entry& entry) {
    if (entry.path().filename().string().starts_with(begin)) files.push_back(entry.path());
  });
  std::error_code gone;
  for (const fs::path& file : files) fs::remove(file, gone);
}

void TakeUpLeftovers(const BlobRequest& request) {
  std::error_code absent;
  if (fs::exists(request.incomplete, absent)) {
    // Up to 1.x Xet wrote there too, in any order.
    if (!IsWithoutHoles(request.incomplete)) fs::remove(request.incomplete, absent);
    return;
  }
  const std::string begin = absl::StrCat(request.incomplete.stem().string(), ".");
  fs::path longest;
  std::uintmax_t most = 0;
  ForEachNeighbour(request, [&](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(begin) || !name.ends_with(".incomplete")) return;
    const std::uintmax_t bytes = entry.file_size(absent);
    if (absent || bytes <= most || !IsWithoutHoles(entry.path())) return;
    longest = entry.path();
    most = bytes;
  });
  if (most > 0) fs::rename(longest, request.incomplete, absent);
}

BlobPrefix::BlobPrefix(const BlobRequest& request, GrowingFile file)
    : request_(request), file_(std::move(file), request.etag, request.bytes) {}

absl::StatusOr<std::unique_ptr<BlobPrefix>> BlobPrefix::Open(const BlobRequest& request,
                                                             std::int64_t piece_bytes) {
  ASSIGN_OR_RETURN(GrowingFile file, GrowingFile::Open(request.incomplete));
  if (file.size() > request.bytes) RETURN_IF_ERROR(file.Truncate(0));
  std::unique_ptr<BlobPrefix> prefix(new BlobPrefix(request, std::move(file)));
  RETURN_IF_ERROR(prefix->Absorb(piece_bytes));
  return prefix;
}

absl::Status BlobPrefix::Absorb(std::int64_t piece_bytes) {
  while (size() < request_.bytes) {
    const std::int64_t first = size() / piece_bytes * piece_bytes;
    const Piece piece{.first = first, .end = std::min(first + piece_bytes, request_.bytes)};
    std::error_code absent;
    const auto waiting = fs::file_size(WaitingFile(request_, first), absent);
    if (absent || first + static_cast<std::int64_t>(waiting) <= size()) break;
    RETURN_IF_ERROR(AppendWaiting(piece));
  }
  return absl::OkStatus();
}

absl::Status BlobPrefix::Append(std::string_view bytes) { return file_.Add(bytes); }

absl::Status BlobPrefix::AppendWaiting(const Piece& piece) {
  const fs::path path = WaitingFile(request_, piece.first);
  ASSIGN_OR_RETURN(const GrowingFile waiting, GrowingFile::Open(path));
  const std::int64_t there = std::min(piece.end - piece.first, waiting.size());
  std::vector<char> buffer(kCopyBytes);
  for (std::int64_t at = size() - piece.first; at < there;) {
    const auto n = std::min<std::int64_t>(there - at, std::ssize(buffer));
    const std::span<char> part(buffer.data(), static_cast<std::size_t>(n));
    RETURN_IF_ERROR(waiting.Read(at, part));
    RETURN_IF_ERROR(Append({part.data(), part.size()}));
    at += n;
  }
  RETURN_IF_ERROR(file_.Flush());
  std::error_code gone;
  fs::remove(path, gone);
  return absl::OkStatus();
}

absl::Status BlobPrefix::Finish() {
  ASSIGN_OR_RETURN(const std::string digest, file_.Finish());
  if (digest != request_.etag) {
    return absl::DataLossError(absl::StrCat(request_.name, ": what came has the digest ", digest,
                                            ", by the hub's word it is ", request_.etag,
                                            "; it was thrown away"));
  }
  RETURN_IF_ERROR(file_.Sync());
  std::error_code failed;
  fs::rename(request_.incomplete, request_.target, failed);
  if (!failed) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(request_.target.string(), ": cannot be made: ", failed.message()));
}

}  // namespace thinkwire::worker::hub
