#include "worker/serve/thinking_reader.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/range_check.h"
#include "common/rpc/status_details.h"
#include "common/status.h"

namespace thinkwire::worker::serve {
namespace {

constexpr char kContinueText[] = "Wait";

// Where the request sets a limit of its own, it wants an answer within it.
std::int32_t ReserveOf(const v1::GenerateRequest& request, std::int32_t max_tokens) {
  if (request.has_min_answer_tokens()) return std::min(request.min_answer_tokens(), max_tokens);
  const v1::Thinking& thinking = request.thinking();
  const bool is_limited = thinking.has_budget_tokens() || thinking.budget_from_deadline() ||
                          (request.has_max_tokens() && !request.ignore_eos());
  return is_limited ? engine::DefaultReserve(max_tokens) : 0;
}

bool EndsWithAny(std::string_view text, std::initializer_list<std::string_view> ends) {
  return std::ranges::any_of(ends, [text](std::string_view end) { return text.ends_with(end); });
}

engine::SentencePart PartOf(std::string_view bytes) {
  if (EndsWithAny(bytes, {"\n"})) return engine::SentencePart::kEnd;
  const std::string_view text = bytes.substr(0, bytes.find_last_not_of(" \t") + 1);
  if (text == ".") return engine::SentencePart::kPoint;
  if (EndsWithAny(text, {".", "!", "?", "。", "！", "？"})) return engine::SentencePart::kEnd;
  const bool digit =
      !bytes.empty() && absl::ascii_isdigit(static_cast<unsigned char>(bytes.back()));
  return digit ? engine::SentencePart::kDigit : engine::SentencePart::kInside;
}

std::shared_ptr<const engine::SentenceParts> FindSentenceParts(const text::Tokenizer& tokenizer) {
  engine::SentenceParts parts(static_cast<std::size_t>(tokenizer.num_ids()));
  for (std::int32_t id = 0; id < tokenizer.num_ids(); ++id) {
    if (tokenizer.IsAdded(id)) continue;
    parts[static_cast<std::size_t>(id)] = PartOf(tokenizer.TokenBytes(id));
  }
  return std::make_shared<const engine::SentenceParts>(std::move(parts));
}

engine::LoopLimits ReadLoops(const v1::LoopLimits& limits) {
  engine::LoopLimits out;
  if (limits.has_max_repeats()) out.max_repeats = limits.max_repeats();
  if (limits.has_max_period_tokens()) out.max_period_tokens = limits.max_period_tokens();
  if (limits.has_near_repetition_share()) out.near_share = limits.near_repetition_share();
  return out;
}

// The field of a request that nothing can obey without a think-end id; null: there is none.
const char* SteeringField(const v1::GenerateRequest& request) {
  if (request.thinking().has_budget_tokens()) return "thinking.budget_tokens";
  if (request.thinking().budget_from_deadline()) return "thinking.budget_from_deadline";
  if (request.thinking().min_tokens() > 0) return "thinking.min_tokens";
  return request.min_answer_tokens() > 0 ? "min_answer_tokens" : nullptr;
}

}  // namespace

ThinkingReader::ThinkingReader(const text::Tokenizer& tokenizer, const ServedModel& model)
    : tokenizer_(tokenizer), model_(model), sentence_parts_(FindSentenceParts(tokenizer)) {}

bool ThinkingReader::MayClose() const {
  const std::optional<std::int32_t> id = tokenizer_.think_end_id();
  return id && *id < model_.limits.vocab_size;
}

absl::StatusOr<engine::Thinking> ThinkingReader::Read(const v1::GenerateRequest& request,
                                                      std::int32_t max_tokens,
                                                      const v1::EffectiveOptions* effective) const {
  if (!MayClose()) {
    const char* const field = SteeringField(request);
    if (field != nullptr) {
      return rpc::InvalidField(field, "must be unset: the variant's vocabulary has no </think>");
    }
    engine::Thinking thinking;
    thinking.loops = LoopsOf(request);
    return thinking;
  }
  return ReadSteered(request, max_tokens, effective);
}

absl::StatusOr<engine::Thinking> ThinkingReader::ReadSteered(
    const v1::GenerateRequest& request, std::int32_t max_tokens,
    const v1::EffectiveOptions* effective) const {
  ASSIGN_OR_RETURN(engine::Thinking thinking, effective != nullptr
                                                  ? TakeOver(*effective, max_tokens)
                                                  : Settle(request, max_tokens));
  if (thinking.landing_share > 0) thinking.sentence_parts = sentence_parts_;
  thinking.ends_in_time = request.thinking().budget_from_deadline();
  if (request.has_min_answer_tokens()) thinking.answer_in_time = request.min_answer_tokens();
  return thinking;
}

std::optional<engine::LoopLimits> ThinkingReader::LoopsOf(
    const v1::GenerateRequest& request) const {
  if (request.has_loop_limits()) return ReadLoops(request.loop_limits());
  if (request.thinking().has_loop_limits()) return ReadLoops(request.thinking().loop_limits());
  return model_.thinking.loops;
}

absl::StatusOr<engine::Thinking> ThinkingReader::Settle(const v1::GenerateRequest& request,
                                                        std::int32_t max_tokens) const {
  const v1::Thinking& asked = request.thinking();
  const ThinkingOptions& options = model_.thinking;
  engine::Thinking out;
  if (options.default_tokens > 0) out.budget_tokens = options.default_tokens;
  if (asked.has_budget_tokens()) out.budget_tokens = asked.budget_tokens();
  if (options.max_tokens > 0) {
    out.budget_tokens =
        std::min(out.budget_tokens.value_or(options.max_tokens), options.max_tokens);
  }
  out.min_answer_tokens = ReserveOf(request, max_tokens);
  out.min_tokens = std::min(asked.min_tokens(), out.budget_tokens.value_or(asked.min_tokens()));
  out.landing_share = asked.landing_share();
  out.loops = LoopsOf(request);
  ASSIGN_OR_RETURN(out.closing_ids,
                   Encode(asked.has_closing_text() ? asked.closing_text() : options.closing_text,
                          "thinking.closing_text"));
  ASSIGN_OR_RETURN(out.continue_ids,
                   Encode(asked.has_continue_text() ? asked.continue_text() : kContinueText,
                          "thinking.continue_text"));
  const bool masks = asked.has_continue_text() && asked.continue_text().empty();
  if (out.min_tokens == 0 || masks || !out.continue_ids.empty()) return out;
  return rpc::InvalidField("thinking.continue_text", "holds nothing that the vocabulary knows");
}

absl::StatusOr<std::vector<std::int32_t>> ThinkingReader::Encode(const std::string& text,
                                                                 const char* field) const {
  std::vector<std::int32_t> ids = tokenizer_.EncodeUserText(text);
  if (std::ssize(ids) > kMaxForcedIds) {
    return rpc::InvalidField(
        field, absl::StrCat("has ", ids.size(), " tokens, at most ", kMaxForcedIds, " may be"));
  }
  for (const std::int32_t id : ids) {
    if (id < model_.limits.vocab_size) continue;
    return rpc::InvalidField(
        field, absl::StrCat("needs the id ", id, ", the model has ", model_.limits.vocab_size));
  }
  return ids;
}

absl::StatusOr<engine::Thinking> ThinkingReader::TakeOver(const v1::EffectiveOptions& effective,
                                                          std::int32_t max_tokens) const {
  engine::Thinking out;
  const std::int32_t ceiling = model_.thinking.max_tokens;
  const std::int32_t budget = effective.reasoning_budget_tokens();
  if (ceiling > 0 && (!effective.has_reasoning_budget_tokens() || budget > ceiling)) {
    return rpc::Error(absl::StatusCode::kFailedPrecondition, "OPTIONS_DIFFER",
                      absl::StrCat("this worker lets at most ", ceiling,
                                   " tokens be thought with, where the request began it was more"));
  }
  if (effective.has_reasoning_budget_tokens()) out.budget_tokens = budget;
  RETURN_IF_ERROR(rpc::CheckRange("resume.effective.min_answer_tokens",
                                  effective.min_answer_tokens(), 0, max_tokens));
  out.min_answer_tokens = effective.min_answer_tokens();
  out.min_tokens = effective.min_reasoning_tokens();
  out.landing_share = effective.landing_share();
  if (effective.has_loop_limits()) out.loops = ReadLoops(effective.loop_limits());
  ASSIGN_OR_RETURN(out.closing_ids,
                   TakeIds(effective.closing_token_ids(), "resume.effective.closing_token_ids"));
  ASSIGN_OR_RETURN(out.continue_ids,
                   TakeIds(effective.continue_token_ids(), "resume.effective.continue_token_ids"));
  return out;
}

absl::StatusOr<std::vector<std::int32_t>> ThinkingReader::TakeIds(
    const google::protobuf::RepeatedField<std::int32_t>& ids, const char* field) const {
  for (const std::int32_t id : ids) {
    if (id >= 0 && id < model_.limits.vocab_size) continue;
    return rpc::InvalidField(field, absl::StrCat("must be in [0, ", model_.limits.vocab_size,
                                                 "), the vocabulary of the model, is ", id));
  }
  return std::vector<std::int32_t>(ids.begin(), ids.end());
}

v1::EffectiveOptions EffectiveOf(const engine::Thinking& thinking) {
  v1::EffectiveOptions out;
  if (thinking.budget_tokens) out.set_reasoning_budget_tokens(*thinking.budget_tokens);
  out.set_min_answer_tokens(thinking.min_answer_tokens);
  out.set_min_reasoning_tokens(thinking.min_tokens);
  out.mutable_closing_token_ids()->Assign(thinking.closing_ids.begin(), thinking.closing_ids.end());
  if (thinking.min_tokens > 0) {
    out.mutable_continue_token_ids()->Assign(thinking.continue_ids.begin(),
                                             thinking.continue_ids.end());
  }
  out.set_landing_share(thinking.landing_share);
  if (thinking.loops) {
    out.mutable_loop_limits()->set_max_repeats(thinking.loops->max_repeats);
    out.mutable_loop_limits()->set_max_period_tokens(thinking.loops->max_period_tokens);
    if (thinking.loops->near_share) {
      out.mutable_loop_limits()->set_near_repetition_share(*thinking.loops->near_share);
    }
  }
  return out;
}

}  // namespace thinkwire::worker::serve
