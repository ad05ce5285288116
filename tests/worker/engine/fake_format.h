#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "worker/engine/answer_format.h"

namespace thinkwire::worker::engine {

// A format that is a hash: which ids may stand next depends on all of the answer's ids before.
// In groups of five, three ids are one of every third, the other two are forced; an answer of
// `num_ids` is complete, and now and then a shorter one. Every other mask takes work; while
// someone else is to do that, nobody may ask for it.
class FakeFormat final : public AnswerFormat {
 public:
  explicit FakeFormat(std::size_t num_ids) : num_ids_(num_ids) {}

  std::unique_ptr<AnswerGuide> Begin() const override;

  // The definition, over the answer's ids so far.
  bool Allows(std::span<const std::int32_t> answer, std::int32_t id) const;
  std::optional<std::int32_t> ForcedAfter(std::span<const std::int32_t> answer) const;

 private:
  const std::size_t num_ids_;
};

}  // namespace thinkwire::worker::engine
