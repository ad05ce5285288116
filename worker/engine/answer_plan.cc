#include "worker/engine/answer_plan.h"

#include <utility>

namespace thinkwire::worker::engine {

AnswerPlan::AnswerPlan(std::shared_ptr<const AnswerFormat> format) : format_(std::move(format)) {
  BeginAgain();
}

std::optional<std::int32_t> AnswerPlan::next() const {
  if (place_ == run_.size()) return std::nullopt;
  return run_[place_];
}

bool AnswerPlan::Hear(std::int32_t id) {
  if (!guide_->Accept(id)) return false;
  const bool follows_run = next() == id;
  if (follows_run && ++place_ < run_.size()) return true;
  run_ = guide_->ForcedRun();
  place_ = 0;
  return true;
}

void AnswerPlan::BeginAgain() {
  guide_ = format_->Begin();
  run_ = guide_->ForcedRun();
  place_ = 0;
}

}  // namespace thinkwire::worker::engine
