#include "common/rpc/thinking_checks.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/rpc/range_check.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "common/steering_limits.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {
namespace {

absl::Status CheckForcedText(const char* field, const std::string& text) {
  if (text.size() <= kMaxForcedTextBytes) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("must be at most ", kMaxForcedTextBytes,
                                          " bytes long, is ", text.size()));
}

absl::Status CheckLoopLimits(const v1::LoopLimits& limits, const std::string& path) {
  if (limits.has_max_repeats()) {
    RETURN_IF_ERROR(CheckRange(path + ".max_repeats", limits.max_repeats(), 2, kMaxLoopRepeats));
  }
  const float share = limits.near_repetition_share();
  if (limits.has_near_repetition_share() && !(share > 0 && share <= 1)) {
    return InvalidField(path + ".near_repetition_share",
                        absl::StrCat("must be in (0, 1], is ", share));
  }
  if (!limits.has_max_period_tokens()) return absl::OkStatus();
  return CheckRange(path + ".max_period_tokens", limits.max_period_tokens(), 1,
                    kMaxLoopPeriodTokens);
}

absl::Status CheckLengths(const v1::Thinking& thinking) {
  if (thinking.has_budget_tokens() && thinking.budget_tokens() < 0) {
    return InvalidField("thinking.budget_tokens",
                        absl::StrCat("must not be negative, is ", thinking.budget_tokens()));
  }
  const std::int32_t most = thinking.has_budget_tokens() ? thinking.budget_tokens() : INT32_MAX;
  return CheckRange("thinking.min_tokens", thinking.min_tokens(), 0, most);
}

absl::Status CheckTexts(const v1::Thinking& thinking) {
  RETURN_IF_ERROR(CheckForcedText("thinking.closing_text", thinking.closing_text()));
  return CheckForcedText("thinking.continue_text", thinking.continue_text());
}

}  // namespace

absl::Status CheckThinking(const v1::GenerateRequest& request) {
  const v1::Thinking& thinking = request.thinking();
  RETURN_IF_ERROR(CheckLengths(thinking));
  RETURN_IF_ERROR(CheckRange("thinking.landing_share", thinking.landing_share(), 0, 1));
  RETURN_IF_ERROR(CheckTexts(thinking));
  if (thinking.has_loop_limits() && request.has_loop_limits()) {
    return InvalidField("thinking.loop_limits", "must be unset where loop_limits is set");
  }
  RETURN_IF_ERROR(CheckLoopLimits(thinking.loop_limits(), "thinking.loop_limits"));
  return CheckLoopLimits(request.loop_limits(), "loop_limits");
}

absl::Status CheckEffective(const v1::EffectiveOptions& effective) {
  const std::string path = "resume.effective";
  RETURN_IF_ERROR(CheckRange(path + ".reasoning_budget_tokens", effective.reasoning_budget_tokens(),
                             0, INT32_MAX));
  RETURN_IF_ERROR(
      CheckRange(path + ".min_answer_tokens", effective.min_answer_tokens(), 0, kMaxModelLen));
  RETURN_IF_ERROR(
      CheckRange(path + ".min_reasoning_tokens", effective.min_reasoning_tokens(), 0, INT32_MAX));
  RETURN_IF_ERROR(CheckRange(path + ".landing_share", effective.landing_share(), 0, 1));
  return CheckLoopLimits(effective.loop_limits(), path + ".loop_limits");
}

}  // namespace thinkwire::rpc
