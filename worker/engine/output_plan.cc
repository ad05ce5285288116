#include "worker/engine/output_plan.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace thinkwire::worker::engine {
namespace {

bool IsSteered(const Thinking& thinking) {
  return thinking.budget_tokens || thinking.min_answer_tokens > 0 || thinking.min_tokens > 0 ||
         thinking.loops || thinking.ends_in_time;
}

bool OwesAnswer(const Request& request) {
  const bool keeps = request.thinking.min_answer_tokens > 0 && !request.thinking.ends_unanswered;
  return request.format != nullptr || keeps;
}

}  // namespace

OutputPlan::OutputPlan(const Request& request, std::int32_t max_tokens)
    : request_(request),
      thinking_(request.thinking),
      think_end_id_(request.sampling.think_end_id),
      budget_(thinking_, max_tokens),
      owes_answer_(OwesAnswer(request)),
      is_steered_(IsSteered(thinking_)),
      masks_(thinking_.min_tokens > 0 && thinking_.continue_ids.empty()),
      thinks_first_(StartOf(request).phase() == step::Phase::kReasoning),
      thinks_(thinks_first_),
      undecided_(request.opening.has_value()),
      outside_(thinking_.closing),
      continued_(thinking_.continued) {
  if (thinking_.loops) loop_.emplace(*thinking_.loops);
  if (request.format != nullptr) answer_.emplace(request.format);
  CloseIfDue(-1, -1);
}

std::optional<NextId> OutputPlan::next() const {
  if (is_closing()) {
    const auto& ids = thinking_.closing_ids;
    return NextId{.id = closing_index_ < ids.size() ? ids[closing_index_] : think_end_id_,
                  .origin = closed_->origin};
  }
  if (continued_ids_) {
    return NextId{.id = thinking_.continue_ids[*continued_ids_], .origin = TokenOrigin::kContinued};
  }
  if (!is_masked() || undecided_) return std::nullopt;
  const std::optional<std::int32_t> id = answer_->next();
  if (!id) return std::nullopt;
  return NextId{.id = *id, .origin = TokenOrigin::kFormat};
}

std::int32_t OutputPlan::Taken(std::int32_t id, bool ends) const {
  return ends && owes_answer_ && thinks_ && think_end_id_ >= 0 ? think_end_id_ : id;
}

void OutputPlan::Mask(std::span<step::MaskWord> mask) {
  answer_->Mask(mask);
  if (!undecided_) return;
  const auto id = static_cast<std::size_t>(request_.opening->think_begin_id);
  mask[id / 64] |= step::MaskWord{1} << (id % 64);
}

void OutputPlan::HaveMaskFound(const PostMaskWork& post) {
  if (answer_ && !answer_->next()) answer_->HaveMaskFound(post);
}

bool OutputPlan::Refuses(std::int32_t id) const {
  return !masks_ && thinks_ && id == think_end_id_ && num_ids_ < thinking_.min_tokens;
}

TokenOrigin OutputPlan::ReplayOrigin() const {
  if (is_closing()) return closed_->origin;
  if (is_masked()) return next() ? TokenOrigin::kFormat : TokenOrigin::kDrawn;
  const auto after = std::ranges::upper_bound(continued_, num_ids_, {}, &IdRange::first);
  const bool is_continued = after != continued_.begin() && std::prev(after)->Contains(num_ids_);
  return is_continued ? TokenOrigin::kContinued : TokenOrigin::kDrawn;
}

void OutputPlan::Hear(const Token& token) {
  const std::int32_t index = num_ids_++;
  const std::int32_t before = std::exchange(last_id_, token.id);
  if (token.mark == TokenMark::kOpensReasoning) thinks_ = true;
  if (is_closing() && closing_index_ < thinking_.closing_ids.size()) ++closing_index_;
  if (token.mark == TokenMark::kClosesReasoning) thinks_ = false;
  if (token.origin == TokenOrigin::kContinued) HearContinued(index);
  undecided_ = token.mark == TokenMark::kUndecided;
  HearAnswer(token);
  if (!is_steered_ && !outside_) return;
  HearLoop(token);
  CloseIfDue(before, token.id);
}

void OutputPlan::HearAnswer(const Token& token) {
  if (!answer_) return;
  if (token.mark == TokenMark::kOpensReasoning) return answer_->BeginAgain();
  if (token.phase == step::Phase::kAnswer) breaks_format_ |= !answer_->Hear(token.id);
}

void OutputPlan::HearContinued(std::int32_t index) {
  const std::int32_t end =
      continued_.empty() ? 0 : continued_.back().first + continued_.back().count;
  if (continued_.empty() || end < index) {
    continued_.push_back({.first = index, .count = 1});
  } else if (end == index) {
    ++continued_.back().count;
  }
  continued_ids_ = continued_ids_.value_or(0) + 1;
  if (*continued_ids_ == thinking_.continue_ids.size()) continued_ids_.reset();
}

void OutputPlan::HearLoop(const Token& token) {
  if (!loop_) return;
  if (token.mark == TokenMark::kClosesReasoning) return loop_->Restart();
  const bool found = loop_->Add(token.id);
  loops_ = found && (!thinks_ || thinking_.ends_unanswered);
  if (found && !loops_ && !closed_ && think_end_id_ >= 0) BeginClosing(TokenOrigin::kLoop, true);
}

void OutputPlan::CloseIfDue(std::int32_t before, std::int32_t last) {
  if (!thinks_ || closed_ || think_end_id_ < 0) return;
  if (budget_.IsSpent(num_ids_)) return CloseAsSpent();
  if (budget_.Lands(num_ids_, before, last)) return BeginClosing(TokenOrigin::kBudget, false);
  // Last, as it comes when all else has been seen to.
  if (outside_ && num_ids_ >= outside_->position) BeginClosing(outside_->origin, true);
}

void OutputPlan::CloseAsSpent() {
  out_of_room_ = thinking_.ends_unanswered && budget_.is_reserve();
  if (!out_of_room_) BeginClosing(TokenOrigin::kBudget, true);
}

void OutputPlan::BeginClosing(TokenOrigin origin, bool with_text) {
  closed_ = {.position = num_ids_, .origin = origin};
  const bool has_text = with_text && budget_.HasRoomToClose(num_ids_);
  closing_index_ = has_text ? 0 : thinking_.closing_ids.size();
  continued_ids_.reset();
}

void OutputPlan::Close(TokenOrigin origin) {
  if (!outside_) outside_ = {.position = num_ids_, .origin = origin};
  CloseIfDue(-1, -1);
}

void OutputPlan::BeginAgain(std::int32_t ids) {
  if (outside_) outside_->position = std::min(outside_->position, ids);
  std::erase_if(continued_, [ids](const IdRange& range) { return range.first >= ids; });
  if (!continued_.empty()) {
    continued_.back().count = std::min(continued_.back().count, ids - continued_.back().first);
  }
  if (loop_) loop_->Restart();
  if (answer_) answer_->BeginAgain();
  num_ids_ = 0;
  last_id_ = -1;
  thinks_ = thinks_first_;
  undecided_ = request_.opening.has_value();
  breaks_format_ = false;
  closed_.reset();
  closing_index_ = 0;
  continued_ids_.reset();
  loops_ = false;
  out_of_room_ = false;
  CloseIfDue(-1, -1);
}

}  // namespace thinkwire::worker::engine
