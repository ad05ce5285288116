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
  ForgetMask();
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
  ForgetMask();
}

void AnswerPlan::HaveMaskFound(const PostMaskWork& post) {
  if (std::exchange(asked_, true)) return;
  std::function<void()> work = guide_->MaskWork();
  if (!work) return;
  auto found = std::make_shared<std::atomic<bool>>(false);
  const bool taken = post([found, work = std::move(work)] {
    work();
    *found = true;
  });
  if (taken) found_ = std::move(found);
}

void AnswerPlan::ForgetMask() {
  asked_ = false;
  found_.reset();
}

}  // namespace thinkwire::worker::engine
