#include "common/rpc/resume_checks.h"

#include <chrono>
#include <cstdint>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/range_check.h"
#include "common/rpc/status_details.h"
#include "common/rpc/thinking_checks.h"
#include "common/status.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kMaxFingerprintBytes = 256;
constexpr std::chrono::hours kMaxReasoning{365 * 24};  // so that times can be added

std::int32_t NumOutputs(const v1::GenerateRequest& request) {
  return request.has_n() ? request.n() : 1;
}

absl::Status CheckTextBytes(const v1::OutputState& output, const std::string& path) {
  const double most = static_cast<double>(output.token_ids_size() * kMaxTextBytesOfToken);
  RETURN_IF_ERROR(CheckRange(path + ".reasoning_text_bytes",
                             static_cast<double>(output.reasoning_text_bytes()), 0, most));
  return CheckRange(path + ".answer_text_bytes", static_cast<double>(output.answer_text_bytes()), 0,
                    most);
}

absl::Status CheckForced(const v1::OutputState& output, const std::string& path) {
  std::int64_t end = -1;  // of the range before; they are apart
  std::int64_t forced = 0;
  for (const v1::TokenRange& range : output.forced_ranges()) {
    if (range.first() <= end || range.count() < 1 ||
        std::int64_t{range.first()} + range.count() > output.token_ids_size()) {
      return InvalidField(path + ".forced_ranges", "must ascend, apart, within the ids");
    }
    end = std::int64_t{range.first()} + range.count();
    forced += range.count();
  }
  if (output.forced_ranges().empty() || forced == output.forced_tokens()) return absl::OkStatus();
  return InvalidField(path + ".forced_ranges",
                      absl::StrCat("have ", forced, " ids, forced are ", output.forced_tokens()));
}

absl::Status CheckClosing(const v1::OutputState& output, const std::string& path) {
  const v1::ReasoningFinishCause cause = output.reasoning_cause();
  if (cause == v1::REASONING_FINISH_CAUSE_UNSPECIFIED) return absl::OkStatus();
  if (cause != v1::REASONING_FINISH_CAUSE_BUDGET && cause != v1::REASONING_FINISH_CAUSE_LOOP &&
      cause != v1::REASONING_FINISH_CAUSE_ANSWER_NOW &&
      cause != v1::REASONING_FINISH_CAUSE_DEADLINE) {
    return InvalidField(path + ".reasoning_cause", "must be BUDGET, LOOP, ANSWER_NOW or DEADLINE");
  }
  return CheckRange(path + ".closing_position", output.closing_position(), 0,
                    output.token_ids_size());
}

absl::Status CheckOutput(const v1::OutputState& output, const v1::GenerateRequest& request,
                         const std::string& path) {
  const int num_ids = output.token_ids_size();
  const std::int32_t num_outputs = NumOutputs(request);
  if (output.output_index() < 0 || output.output_index() >= num_outputs) {
    return InvalidField(path + ".output_index",
                        absl::StrCat("must be in [0, ", num_outputs, "), n is ", num_outputs,
                                     ", is ", output.output_index()));
  }
  if (request.has_max_tokens() && num_ids > request.max_tokens()) {
    return InvalidField(path + ".token_ids", absl::StrCat("may hold at most ", request.max_tokens(),
                                                          " ids, max_tokens, holds ", num_ids));
  }
  RETURN_IF_ERROR(CheckRange(path + ".forced_tokens", output.forced_tokens(), 0, num_ids));
  RETURN_IF_ERROR(CheckRange(path + ".reasoning_tokens", output.reasoning_tokens(), 0, num_ids));
  const Clock::Duration reasoning = ReadDuration(output.reasoning_duration());
  if (reasoning < Clock::Duration::zero() || reasoning > kMaxReasoning) {
    return InvalidField(path + ".reasoning_duration", "must be in [0, 1 year]");
  }
  RETURN_IF_ERROR(CheckForced(output, path));
  RETURN_IF_ERROR(CheckClosing(output, path));
  return CheckTextBytes(output, path);
}

absl::Status CheckOutputs(const v1::ResumeState& resume, const v1::GenerateRequest& request) {
  std::set<std::int32_t> indices;
  std::int64_t ids = 0;
  for (int i = 0; i < resume.outputs_size(); ++i) {
    const v1::OutputState& output = resume.outputs(i);
    const std::string path = absl::StrCat("resume.outputs[", i, "]");
    RETURN_IF_ERROR(CheckOutput(output, request, path));
    if (!indices.insert(output.output_index()).second) {
      return InvalidField(path + ".output_index",
                          absl::StrCat("is ", output.output_index(), ", as an earlier one's"));
    }
    ids += output.token_ids_size();
  }
  if (ids <= kMaxModelLen) return absl::OkStatus();
  return InvalidField("resume.outputs",
                      absl::StrCat("may hold at most ", kMaxModelLen, " token_ids, hold ", ids));
}

absl::Status CheckBuilt(const v1::OutputState& output, const std::string& path) {
  if (output.finish_reason() != 0) return UnimplementedField(path + ".finish_reason");
  return absl::OkStatus();
}

absl::Status CheckResumedPrompt(const v1::ResumeState& resume) {
  if (resume.prompt_ids().empty()) {
    return CheckRange("resume.prompt_tokens", resume.prompt_tokens(), 1, kMaxModelLen);
  }
  if (resume.prompt_tokens() == 0 || resume.prompt_tokens() == resume.prompt_ids_size()) {
    return absl::OkStatus();
  }
  return InvalidField(
      "resume.prompt_tokens",
      absl::StrCat("is ", resume.prompt_tokens(), ", prompt_ids are ", resume.prompt_ids_size()));
}

}  // namespace

absl::Status CheckBuilt(const v1::ResumeState& resume) {
  for (const v1::OutputState& output : resume.outputs()) {
    RETURN_IF_ERROR(CheckBuilt(output, "resume.outputs"));
  }
  return absl::OkStatus();
}

absl::Status CheckResume(const v1::ResumeState& resume, const v1::GenerateRequest& request) {
  if (!request.has_seed()) return InvalidField("seed", "is required with resume");
  RETURN_IF_ERROR(CheckResumedPrompt(resume));
  if (resume.fingerprint().size() > kMaxFingerprintBytes) {
    return InvalidField("resume.fingerprint",
                        absl::StrCat("must be at most ", kMaxFingerprintBytes, " bytes long, is ",
                                     resume.fingerprint().size()));
  }
  RETURN_IF_ERROR(CheckEffective(resume.effective()));
  return CheckOutputs(resume, request);
}

}  // namespace thinkwire::rpc
