#include "worker/rank_span.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/listen_address.h"
#include "common/shown_text.h"
#include "common/status.h"

namespace thinkwire::worker {
namespace {

// "A-B", or "A" for both.
std::optional<std::pair<std::int32_t, std::int32_t>> Ends(const std::string& text) {
  std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('-', 1));
  if (text.find('-') == std::string::npos) parts.second = parts.first;
  std::pair<std::int32_t, std::int32_t> ends;
  if (!absl::SimpleAtoi(parts.first, &ends.first) ||
      !absl::SimpleAtoi(parts.second, &ends.second)) {
    return std::nullopt;
  }
  return ends;
}

absl::Status CheckLeader(const WorkerConfig& config) {
  if (config.leader.empty()) {
    return absl::InvalidArgumentError("--ranks needs --leader: where the group's processes meet");
  }
  RETURN_IF_ERROR(CheckListenAddress("leader", config.leader));
  if (!Follows(config)) return absl::OkStatus();
  const HostAndPort address = *ReadListenAddress(config.leader);
  if (!address.host.empty() && address.port != "0") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--leader: '", ShownText(config.leader), "' names no host and port to find"));
}

}  // namespace

absl::StatusOr<RankSpan> RanksOf(const WorkerConfig& config) {
  const std::int32_t size = config.tensor_parallel_size;
  const auto ends = Ends(config.ranks);
  if (ends && ends->first >= 0 && ends->first <= ends->second && ends->second < size) {
    return RankSpan{.first = ends->first, .count = ends->second - ends->first + 1};
  }
  return absl::InvalidArgumentError(absl::StrCat("--ranks: '", ShownText(config.ranks),
                                                 "' is not A-B or A of the ranks 0 to ", size - 1,
                                                 " that --tensor_parallel_size gives"));
}

absl::Status CheckGroup(const WorkerConfig& config) {
  if (config.ranks.empty()) {
    if (config.leader.empty() && config.group_token_file.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("--", config.leader.empty() ? "group_token_file" : "leader",
                     " is only for --ranks: all ranks are of this process"));
  }
  ASSIGN_OR_RETURN(const RankSpan span, RanksOf(config));
  if (span.count == config.tensor_parallel_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--ranks ", config.ranks, " are all of --tensor_parallel_size: leave --ranks out"));
  }
  RETURN_IF_ERROR(CheckLeader(config));
  if (config.group_token_file.empty()) {
    return absl::InvalidArgumentError(
        "--ranks needs --group_token_file: the secret of the group's processes");
  }
  if (!config.check_config) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "--check_config and --ranks exclude each other: what one "
      "process has says nothing of its group");
}

bool Follows(const WorkerConfig& config) {
  if (config.ranks.empty()) return false;
  const auto span = RanksOf(config);
  return span.ok() && span->first > 0;
}

}  // namespace thinkwire::worker
