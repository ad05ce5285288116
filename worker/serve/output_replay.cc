// OutputEvents: brings an output to where an earlier worker had it.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "common/utf8.h"
#include "worker/serve/output_events.h"

namespace thinkwire::worker::serve {
namespace {

using engine::EndReason;
using step::Phase;

constexpr std::int64_t kWhatIsThere = std::numeric_limits<std::int64_t>::max();

bool ContinuesCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

bool HasText(const v1::GenerateResponse& event, Phase phase) {
  return phase == Phase::kReasoning ? event.has_reasoning_delta() : event.has_answer_delta();
}

std::string TextBytesOf(const std::string& field, Phase phase) {
  return absl::StrCat(field, phase == Phase::kReasoning ? ".reasoning" : ".answer", "_text_bytes");
}

}  // namespace

void OutputEvents::BeginReplay(const Sent& sent) {
  sent_ = sent;
  counts_.forced = sent.forced_tokens;
  times_.earlier_reasoning = sent.reasoning_duration;
  for (const Phase phase : step::kPhases) {
    bytes_to_skip_[phase] = sent.text_bytes[phase].value_or(kWhatIsThere);
  }
  replaying_ = true;
}

void OutputEvents::Replay(const engine::Token& token) {
  CHECK(replaying_ && !finished_ && !last_, "what was sent is replayed first, up to the end");
  AddToken(token, {}, &unsent_);
  SkipSentText();
}

void OutputEvents::SkipSentText() {
  std::int64_t& bytes = bytes_to_skip_[phase_];
  if (bytes == 0 || text_.empty()) return;
  auto sent = static_cast<std::size_t>(std::min<std::int64_t>(bytes, std::ssize(text_)));
  if (bytes != kWhatIsThere) bytes -= static_cast<std::int64_t>(sent);
  while (sent < text_.size() && ContinuesCharacter(text_[sent])) {
    splits_character_[phase_] = true;
    ++sent;
  }
  text_.erase(0, sent);
}

void OutputEvents::EndSkipping(Phase phase) {
  if (bytes_to_skip_[phase] == kWhatIsThere) bytes_to_skip_[phase] = 0;
}

bool OutputEvents::IsSentWhole(Phase phase) const {
  return phase == Phase::kReasoning ? sent_.reasoning_finished : sent_.finished;
}

absl::Status OutputEvents::EndReplay(std::optional<EndReason> end, const std::string& field) {
  const bool ended_by_id = end == EndReason::kEndOfSequence;
  // What an ended text had held back was sent with its end alone.
  for (const Phase phase : step::kPhases) {
    if (!IsSentWhole(phase)) EndSkipping(phase);
  }
  if (end && !finished_) End(*end, {}, &unsent_);
  for (const Phase phase : step::kPhases) EndSkipping(phase);
  replaying_ = false;
  RETURN_IF_ERROR(CheckEndsSent(ended_by_id, field));
  for (const Phase phase : step::kPhases) RETURN_IF_ERROR(CheckTextSent(phase, field));
  if (OwesEnd() && !finished_) bytes_to_skip_[phase_] = kWhatIsThere;
  std::erase_if(unsent_, [this](const v1::GenerateResponse& event) {
    return sent_.finished || (sent_.reasoning_finished && event.has_reasoning_finished());
  });
  return absl::OkStatus();
}

// Whether what was said to be over is, and the other way round where an id came with that event.
absl::Status OutputEvents::CheckEndsSent(bool ended_by_id, const std::string& field) const {
  const bool reasoned = counts_.tokens[Phase::kReasoning] > 0;
  const bool is_closed = reasoned && phase_ == Phase::kAnswer;
  if (sent_.finished && !finished_) {
    return rpc::InvalidField(field + ".finished", "must be unset: the ids do not end the output");
  }
  if (!sent_.finished && ended_by_id) {
    return rpc::InvalidField(field + ".finished",
                             "must be set: the last id is the end-of-sequence that it came with");
  }
  if (sent_.reasoning_finished && !reasoned) {
    return rpc::InvalidField(field + ".reasoning_finished",
                             "must be unset: no id belongs to the reasoning");
  }
  if (!sent_.reasoning_finished && reasoned && (is_closed || sent_.finished)) {
    return rpc::InvalidField(field + ".reasoning_finished",
                             "must be set: the ids have ended the reasoning");
  }
  return absl::OkStatus();
}

// Whether so many bytes of a phase's text may have been sent with the tokens and ends that were.
absl::Status OutputEvents::CheckTextSent(Phase phase, const std::string& field) const {
  const std::int64_t beyond = bytes_to_skip_[phase];
  const Channel& channel = channels_[phase];
  const bool goes_on = phase == phase_ && !finished_;
  const auto held = static_cast<std::int64_t>(channel.matcher.num_held_bytes());
  // An end that is yet to come has let go of what is held back, and perhaps been seen to.
  const bool is_broken = channel.detokenizer.num_held_bytes() > 0;
  const std::int64_t last = is_broken ? std::ssize(kReplacementCharacter) : 0;
  if (beyond > (goes_on ? held + last : 0)) {
    return rpc::InvalidField(TextBytesOf(field, phase),
                             absl::StrCat("is ", beyond, " beyond the text of the ids"));
  }
  const bool is_missing = std::ranges::any_of(
      unsent_, [phase](const v1::GenerateResponse& event) { return HasText(event, phase); });
  if (IsSentWhole(phase) && (is_missing || (goes_on && !text_.empty()))) {
    return rpc::InvalidField(TextBytesOf(field, phase),
                             "leaves out text that was sent before what is said to be finished");
  }
  if (!splits_character_[phase]) return absl::OkStatus();
  return rpc::InvalidField(TextBytesOf(field, phase), "ends within a character");
}

}  // namespace thinkwire::worker::serve
