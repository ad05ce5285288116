#include "tests/worker/engine/fake_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "tests/fakes/fake_runner.h"
#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

std::uint32_t HashOf(std::span<const std::int32_t> answer) {
  std::uint32_t hash = 2166136261U;
  for (const std::int32_t id : answer) hash = (hash ^ static_cast<std::uint32_t>(id)) * 16777619U;
  return hash ^ hash >> 15;
}

class Guide final : public AnswerGuide {
 public:
  explicit Guide(const FakeFormat& format) : format_(format) {}

  bool Accept(std::int32_t id) override {
    if (!format_.Allows(ids_, id)) return false;
    ids_.push_back(id);
    found_.reset();
    return true;
  }

  void NextMask(std::span<step::MaskWord> mask) override {
    const bool is_being_found = found_ != nullptr && !*found_ && found_.use_count() > 1;
    EXPECT_FALSE(is_being_found) << "a row is planned before its mask";
    std::ranges::fill(mask, 0);
    for (std::int32_t id = 0; id < kVocab; ++id) {
      if (!format_.Allows(ids_, id)) continue;
      mask[static_cast<std::size_t>(id) / 64] |= step::MaskWord{1} << (id % 64);
    }
  }

  std::function<void()> MaskWork() override {
    if (HashOf(ids_) % 2 == 0) return nullptr;
    found_ = std::make_shared<bool>(false);
    return [found = found_] { *found = true; };
  }

  std::vector<std::int32_t> ForcedRun() override {
    std::vector<std::int32_t> ids = ids_;
    while (const std::optional<std::int32_t> id = format_.ForcedAfter(ids)) ids.push_back(*id);
    return {ids.begin() + static_cast<long>(ids_.size()), ids.end()};
  }

 private:
  const FakeFormat format_;
  std::vector<std::int32_t> ids_;
  std::shared_ptr<bool> found_;  // the work of the next mask was done; null: there is none
};

}  // namespace

std::unique_ptr<AnswerGuide> FakeFormat::Begin() const { return std::make_unique<Guide>(*this); }

bool FakeFormat::Allows(std::span<const std::int32_t> answer, std::int32_t id) const {
  if (!answer.empty() && answer.back() == kEos) return false;
  if (answer.size() >= num_ids_) return id == kEos;
  if (const std::optional<std::int32_t> forced = ForcedAfter(answer)) return id == *forced;
  if (id == kEos) return answer.size() % 7 == 6;
  if (id == kBlank) return answer.size() < 2;
  return id >= FakeModel::kFirstPlain && (HashOf(answer) + static_cast<std::uint32_t>(id)) % 3 == 0;
}

std::optional<std::int32_t> FakeFormat::ForcedAfter(std::span<const std::int32_t> answer) const {
  if (answer.size() >= num_ids_ || answer.size() % 5 < 3) return std::nullopt;
  if (answer.back() == kEos) return std::nullopt;
  constexpr std::uint32_t kPlain = kVocab - FakeModel::kFirstPlain;
  return FakeModel::kFirstPlain + static_cast<std::int32_t>(HashOf(answer) % kPlain);
}

}  // namespace thinkwire::worker::engine
