#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "worker/engine/answer_format.h"
#include "worker/step/mask.h"

namespace thinkwire::worker::engine {

// What may stand next in an answer that has a format: an id where there is one way on, else what a
// mask says. A part of OutputPlan and as pure: a function of the format and the answer's ids.
// Threads: one at a time.
class AnswerPlan {
 public:
  explicit AnswerPlan(std::shared_ptr<const AnswerFormat> format);

  // The id that stands next without being drawn, if there is one.
  std::optional<std::int32_t> next() const;

  // REQUIRES: the answer has not ended.
  void Mask(std::span<step::MaskWord> mask) { guide_->NextMask(mask); }

  // Gives `post` what makes Mask quick, if it is not, once after each id. Whether a thread of its
  // own is at that, or will be.
  void HaveMaskFound(const PostMaskWork& post);
  bool is_finding_mask() const { return found_ != nullptr && !*found_; }

  // An id of the answer was committed. False, and nothing changes: the format does not have it.
  bool Hear(std::int32_t id);

  void BeginAgain();  // before the first id

 private:
  void ForgetMask();

  std::shared_ptr<const AnswerFormat> format_;
  std::unique_ptr<AnswerGuide> guide_;
  std::vector<std::int32_t> run_;                   // forced
  std::size_t place_ = 0;                           // in it
  bool asked_ = false;                              // HaveMaskFound was called since the last id
  std::shared_ptr<const std::atomic<bool>> found_;  // null: there is no need
};

}  // namespace thinkwire::worker::engine
