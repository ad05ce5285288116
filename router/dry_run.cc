#include "router/dry_run.h"

#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/rpc/request_checks.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "router/decision/completion_estimate.h"
#include "router/decision/experience.h"
#include "router/decision/prompt_marks.h"
#include "router/decision/score_policy.h"
#include "router/escalation.h"
#include "router/fleet/prefix_index.h"
#include "router/prompt_hash.h"
#include "router/query.h"

namespace thinkwire::router {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxMessageBytes = 512;

// Of the worker's cache, as PrefixIndex knows it: each lives as long as the trace.
std::uint32_t LifeOf(std::size_t worker) { return static_cast<std::uint32_t>(worker) + 1; }

struct Recorded {
  v1::GenerateRequest request;
  std::optional<double> deadline_s;
};

absl::Status Wrong(const std::string& place, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(place, ": ", ShownLine(what, kMaxMessageBytes)));
}

absl::Status ReadDeadline(const std::string& place, const Json& line, Recorded& recorded) {
  const auto found = line.find("deadline_s");
  if (found == line.end()) return absl::OkStatus();
  if (!found->is_number()) return Wrong(place, "deadline_s must be a number");
  recorded.deadline_s = found->get<double>();
  return absl::OkStatus();
}

absl::StatusOr<Recorded> ReadRecorded(const std::string& place, std::string_view text) {
  ASSIGN_OR_RETURN(const Json line, ParseJson(text, place, {.max_bytes = kMaxTraceLineBytes}));
  const std::size_t known = line.is_object() ? line.count("request") + line.count("deadline_s") : 0;
  if (!line.is_object() || known != line.size() || !line.contains("request")) {
    return Wrong(place, "must be an object of \"request\" and, if it had one, \"deadline_s\"");
  }
  Recorded recorded;
  const auto status =
      google::protobuf::util::JsonStringToMessage(line["request"].dump(), &recorded.request);
  if (!status.ok()) {
    return Wrong(place, absl::StrCat("request: ", std::string(status.message())));
  }
  RETURN_IF_ERROR(ReadDeadline(place, line, recorded));
  return recorded;
}

std::vector<decision::WorkerView> IdleWorkers(const std::vector<VariantConfig>& variants) {
  std::vector<decision::WorkerView> workers;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const decision::WorkerStatus idle{.max_model_len = variants[v].traits.context_tokens};
    for (const std::string& address : variants[v].workers) {
      workers.push_back({.variant = v, .address = address, .status = idle});
    }
  }
  return workers;
}

// A router of the configuration, without the rest of the world: all workers are idle and have in
// their caches whatever they were given.
class Rehearsal {
 public:
  explicit Rehearsal(const RouterConfig& config)
      : variants_(config.variants),
        policy_(config.variants),
        experience_(config.variants),
        workers_(IdleWorkers(config.variants)) {}

  Json Decide(const Recorded& recorded) {
    if (const absl::Status status = rpc::CheckRequest(recorded.request); !status.ok()) {
      return Refused(status);
    }
    decision::Query query = MakeQuery(recorded.request);
    query.deadline_s = recorded.deadline_s;
    const decision::PromptMarks marks = MarkPrompt(recorded.request, prefixes_.key(), "");
    for (const auto& [life, bytes] : prefixes_.Find(marks)) {
      query.cached.push_back({.worker = life - 1, .bytes = bytes});
    }
    const auto decision =
        policy_.Decide(query, {.workers = workers_, .variants = experience_.views()});
    if (!decision.ok()) return Refused(decision.status());
    ++workers_[decision->worker].given;
    const std::uint32_t life = LifeOf(decision->worker);
    prefixes_.Learn(marks, life, fleet::BytesOf(prefixes_.Find(marks), life));
    Json said = Decided(query, *decision);
    const auto better = BetterVariant(variants_, decision->variant);
    if (better && MayEscalate(recorded.request)) said["escalates_to"] = variants_[*better].name;
    return said;
  }

 private:
  static Json Refused(const absl::Status& status) {
    return {{"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())}};
  }

  Json Decided(const decision::Query& query, const decision::Decision& decision) const {
    Json said = {{"variant", variants_[decision.variant].name},
                 {"worker", workers_[decision.worker].address},
                 {"cause", decision::CauseName(decision.cause)},
                 {"task", TaskName(decision::TaskOf(query))},
                 {"variant_reason", decision.variant_reason},
                 {"worker_reason", decision.worker_reason}};
    if (decision.expected_reasoning.p50 > 0) {
      said["thinking_p50"] = std::lround(decision.expected_reasoning.p50);
      said["thinking_p90"] = std::lround(decision.expected_reasoning.p90);
    }
    return said;
  }

  const std::vector<VariantConfig>& variants_;
  const decision::ScorePolicy policy_;
  const decision::Experience experience_;
  fleet::PrefixIndex prefixes_;
  std::vector<decision::WorkerView> workers_;
};

}  // namespace

absl::Status DryRun(const RouterConfig& config, const std::string& path,
                    const std::function<void(const std::string& line)>& print) {
  ASSIGN_OR_RETURN(const std::string trace, ReadFile(path, kMaxTraceBytes));
  Rehearsal rehearsal(config);
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(trace, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    ASSIGN_OR_RETURN(const Recorded recorded,
                     ReadRecorded(absl::StrCat(path, ":", number), {line.data(), line.size()}));
    Json said = rehearsal.Decide(recorded);
    said["line"] = number;
    print(said.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  return absl::OkStatus();
}

}  // namespace thinkwire::router
