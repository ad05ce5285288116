#include "router/fleet/worker_status.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/proto_time.h"
#include "common/status.h"

namespace thinkwire::router::fleet {
namespace {

// More than places and queue together: some may have lost their places.
constexpr std::int64_t kMostRequests = 1 << 21;
// As configured names, which are what it is compared with.
constexpr std::size_t kMaxNameBytes = kMaxAliasBytes;

struct Number {
  const char* name;
  std::int64_t value;
  std::int64_t least;
  std::int64_t most;
};

absl::Status Wrong(const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
  return absl::InvalidArgumentError(absl::StrCat("its status is wrong: ", name, " is ", value,
                                                 ", not in [", least, ", ", most, "]"));
}

absl::Status CheckNumbers(const v1::WatchStatusResponse& status) {
  const Number numbers[] = {
      {"max_model_len", status.max_model_len(), kMinModelLen, kMaxModelLen},
      {"vocab_size", status.vocab_size(), 1, kMaxVocabSize},
      {"max_num_seqs", status.max_num_seqs(), 1, kMaxNumSeqs},
      {"running", status.running(), 0, kMostRequests},
      {"parked", status.parked(), 0, kMostRequests},
      {"max_queue", status.max_queue(), 0, kMaxQueueLength},
      {"queued", status.queued(), 0, kMostRequests},
      {"total_kv_blocks", status.total_kv_blocks(), 0, INT32_MAX},
      {"free_kv_blocks", status.free_kv_blocks(), 0, status.total_kv_blocks()},
      {"cached_kv_blocks", status.cached_kv_blocks(), 0, status.total_kv_blocks()},
      {"kv_block_tokens", status.kv_block_tokens(), 0, kMaxBlockTokens},
      {"request_revision", status.request_revision(), 0, INT32_MAX},
      {"the number of ranks", status.ranks_size(), 0, kMaxRanks},
  };
  for (const Number& number : numbers) {
    if (number.value >= number.least && number.value <= number.most) continue;
    return Wrong(number.name, number.value, number.least, number.most);
  }
  return absl::OkStatus();
}

absl::Status CheckTexts(const v1::WatchStatusResponse& status) {
  const auto name = static_cast<std::int64_t>(status.served_model_name().size());
  if (name > static_cast<std::int64_t>(kMaxNameBytes)) {
    return Wrong("the length of served_model_name", name, 0, kMaxNameBytes);
  }
  const auto fingerprint = static_cast<std::int64_t>(status.fingerprint().size());
  if (fingerprint >= 1 && fingerprint <= static_cast<std::int64_t>(kMaxFingerprintBytes)) {
    return absl::OkStatus();
  }
  return Wrong("the length of fingerprint", fingerprint, 1, kMaxFingerprintBytes);
}

// Of the rank that has stood still for longest.
double WithoutProgress(const v1::WatchStatusResponse& status) {
  double longest = 0;
  for (const v1::RankHeartbeat& rank : status.ranks()) {
    longest = std::max(longest, ToSeconds(rpc::ReadDuration(rank.since_progress())));
  }
  return longest;
}

}  // namespace

absl::StatusOr<decision::WorkerStatus> ReadStatus(const v1::WatchStatusResponse& status) {
  RETURN_IF_ERROR(CheckNumbers(status));
  RETURN_IF_ERROR(CheckTexts(status));
  return decision::WorkerStatus{
      .served_model_name = status.served_model_name(),
      .fingerprint = status.fingerprint(),
      .max_model_len = status.max_model_len(),
      .queued = status.queued(),
      .running = status.running(),
      .parked = status.parked(),
      .max_num_seqs = status.max_num_seqs(),
      .max_queue = status.max_queue() > 0 ? status.max_queue() : kMaxQueue,
      .free_kv_blocks = status.free_kv_blocks(),
      .total_kv_blocks = status.total_kv_blocks(),
      .draining = status.draining(),
      .without_progress_s = WithoutProgress(status)};
}

}  // namespace thinkwire::router::fleet
