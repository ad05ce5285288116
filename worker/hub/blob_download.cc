#include "worker/hub/blob_download.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/status.h"
#include "worker/hub/backoff.h"
#include "worker/hub/blob_prefix.h"
#include "worker/hub/growing_file.h"
#include "worker/hub/piece_plan.h"
#include "worker/hub/range_fetch.h"

namespace thinkwire::worker::hub {
namespace {

// Where nobody has said how many: others join the first one if it has brought less than this in its
// first look's time. Where one is as fast, more of them only divide what the machine itself can
// take, and ranges that come before their turn are written twice.
constexpr std::int64_t kMaxConnections = 8;
constexpr std::chrono::milliseconds kLook{150};
constexpr std::int64_t kFastBytesPerSecond = std::int64_t{256} << 20;

// The connections of one file, each a thread that takes piece after piece.
class Connections {
 public:
  Connections(const BlobRequest& request, const DownloadOptions& options, BlobPrefix& prefix,
              Progress& progress)
      : request_(request),
        options_(options),
        prefix_(prefix),
        progress_(progress),
        plan_(request.bytes, prefix.size(), options.piece_bytes),
        alone_(options.connections <= 1) {}

  // Fails: as FetchRange.
  absl::Status Run() {
    const std::int64_t pieces = (request_.bytes - prefix_.size()) / options_.piece_bytes + 1;
    const std::int64_t most = options_.connections > 0 ? options_.connections : kMaxConnections;
    const std::int64_t others = std::min(most, pieces) - 1;
    std::vector<std::thread> threads;
    for (std::int64_t i = 0; i < others; ++i) {
      threads.emplace_back([this] {
        if (!IsNeeded()) return;
        alone_ = false;
        Work();
      });
    }
    Work();
    {
      const MutexLock lock(mu_);
      first_is_through_ = true;
    }
    through_.NotifyAll();
    for (std::thread& thread : threads) thread.join();
    return plan_.status();
  }

  // All that is left by one request for the whole, as ranges are ignored.
  absl::Status RunWithoutRanges() {
    HttpConnection connection(options_.http);
    return FetchRange(connection, Backoff(options_.http.stop),
                      Range(prefix_.size(), request_.bytes, true),
                      [this](std::string_view bytes) { return Append(bytes); });
  }

 private:
  // Whether the first connection is too slow to go on alone. Blocks.
  bool IsNeeded() {
    if (options_.connections > 0) return true;
    const std::int64_t before = progress_.came_bytes();
    const auto look = std::chrono::steady_clock::now() + kLook;
    const MutexLock lock(mu_);
    while (!first_is_through_ && std::chrono::steady_clock::now() < look) {
      through_.WaitFor(mu_, look - std::chrono::steady_clock::now());
    }
    const std::int64_t fast = kFastBytesPerSecond * kLook.count() / 1000;
    return !first_is_through_ && progress_.came_bytes() - before < fast;
  }

  void Work() {
    HttpConnection connection(options_.http);
    while (std::optional<Piece> piece = plan_.Take()) {
      absl::Status status =
          piece->direct ? Fetch(connection, *piece) : FetchApart(connection, *piece);
      if (status.ok() && plan_.Done(*piece)) status = AppendThoseThatWait();
      if (!status.ok()) plan_.Fail(status);
    }
  }

  // Straight onto the prefix. Where no other connection is at work one request asks for all that is
  // left, and goes on from piece to piece until it meets one that another has taken: so nothing is
  // waited for between two. `piece` becomes the last one that came, or was begun.
  absl::Status Fetch(HttpConnection& connection, Piece& piece) {
    const std::int64_t end = alone_ ? request_.bytes : piece.end;
    const absl::Status status =
        FetchRange(connection, Backoff(options_.http.stop), Range(piece.first, end, false),
                   [&](std::string_view bytes) { return AppendPieces(bytes, piece); });
    return prefix_.size() == piece.end ? absl::OkStatus() : status;
  }

  // Fails also: ABORTED the next piece is another's.
  absl::Status AppendPieces(std::string_view bytes, Piece& piece) {
    while (!bytes.empty()) {
      if (prefix_.size() == piece.end) {
        const std::optional<Piece> next = plan_.GoOn(piece);
        if (!next) return absl::AbortedError("others bring what follows");
        piece = *next;
      }
      const std::string_view part =
          bytes.substr(0, static_cast<std::size_t>(piece.end - prefix_.size()));
      RETURN_IF_ERROR(Append(part));
      bytes.remove_prefix(part.size());
    }
    return absl::OkStatus();
  }

  absl::Status Append(std::string_view bytes) {
    progress_.Come(std::ssize(bytes));
    return prefix_.Append(bytes);
  }

  // Into a file of its own, from where an earlier attempt has stopped.
  absl::Status FetchApart(HttpConnection& connection, const Piece& piece) {
    ASSIGN_OR_RETURN(GrowingFile file, GrowingFile::Open(WaitingFile(request_, piece.first)));
    if (file.size() > piece.end - piece.first) RETURN_IF_ERROR(file.Truncate(0));
    progress_.Have(file.size());
    return FetchRange(connection, Backoff(options_.http.stop),
                      Range(piece.first + file.size(), piece.end, false),
                      [&](std::string_view bytes) {
                        progress_.Come(std::ssize(bytes));
                        return file.Append(bytes);
                      });
  }

  absl::Status AppendThoseThatWait() {
    while (const std::optional<Piece> piece = plan_.NextWaiting()) {
      RETURN_IF_ERROR(prefix_.AppendWaiting(*piece));
    }
    return absl::OkStatus();
  }

  RangeRequest Range(std::int64_t first, std::int64_t end, bool whole) const {
    return {.url = request_.url,
            .name = request_.name,
            .first = first,
            .end = end,
            .bytes = request_.bytes,
            .whole = whole};
  }

  const BlobRequest& request_;
  const DownloadOptions& options_;
  BlobPrefix& prefix_;  // of whom the plan says
  Progress& progress_;
  PiecePlan plan_;
  Mutex mu_;
  CondVar through_;
  bool first_is_through_ ABSL_GUARDED_BY(mu_) = false;
  std::atomic<bool> alone_;  // no other connection has begun
};

void ThrowAway(const BlobRequest& request) {
  std::error_code gone;
  std::filesystem::remove(request.incomplete, gone);
  RemoveWaitingFiles(request);
}

// `went_on` says whether bytes of an earlier attempt are among it.
absl::Status Attempt(const BlobRequest& request, const DownloadOptions& options, Progress& progress,
                     bool& went_on) {
  const std::int64_t before = progress.done_bytes();
  ASSIGN_OR_RETURN(const std::unique_ptr<BlobPrefix> prefix,
                   BlobPrefix::Open(request, options.piece_bytes));
  went_on = prefix->size() > 0;
  progress.Have(prefix->size());
  Connections connections(request, options, *prefix, progress);
  absl::Status status = connections.Run();
  if (absl::IsUnimplemented(status)) {
    progress.Have(before + prefix->size() - progress.done_bytes());
    status = connections.RunWithoutRanges();
  }
  RETURN_IF_ERROR(status);
  status = prefix->Finish();
  if (absl::IsDataLoss(status)) {
    ThrowAway(request);
    progress.Have(before - progress.done_bytes());
  }
  return status;
}

}  // namespace

absl::Status DownloadBlob(const BlobRequest& request, const DownloadOptions& options,
                          Progress& progress) {
  TakeUpLeftovers(request);
  bool went_on = false;
  absl::Status status = Attempt(request, options, progress, went_on);
  if (absl::IsDataLoss(status) && went_on) status = Attempt(request, options, progress, went_on);
  if (status.ok()) RemoveWaitingFiles(request);
  return status;
}

}  // namespace thinkwire::worker::hub
