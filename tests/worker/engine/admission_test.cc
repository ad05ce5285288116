#include "worker/engine/admission.h"

#include <gtest/gtest.h>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

constexpr step::Limits kLimits = {.max_num_seqs = 4,
                                  .max_num_batched_tokens = 64,
                                  .max_model_len = 64,
                                  .block_tokens = 4,
                                  .num_blocks = 10,
                                  .max_in_flight = 2,
                                  .vocab_size = kVocab};

class AdmissionTest : public testing::Test {
 protected:
  std::unique_ptr<Sequence> Make(std::int32_t prompt_tokens,
                                 std::optional<Clock::TimePoint> deadline = {}) {
    Request request = MakeRequest(1, prompt_tokens, 4);
    request.deadline = deadline;
    return std::make_unique<Sequence>(++last_handle_, request, 4, reader_.stream());
  }

  // Makes one that has its blocks, all full ones of them cached.
  std::unique_ptr<Sequence> Run(std::int32_t prompt_tokens) {
    std::unique_ptr<Sequence> sequence = Make(prompt_tokens);
    const Admission::Offer offer = admission_.Consider(*sequence, 0, {});
    EXPECT_EQ(offer.verdict, Admission::Verdict::kAdmit);
    sequence->Admit(0);
    admission_.GiveBlocks(offer, *sequence);
    sequence->OnSubmitted(prompt_tokens - sequence->computed(), 1);
    sequence->OnCollected(1, sequence->epoch());
    while ((sequence->blocks_cached() + 1) * kLimits.block_tokens <= prompt_tokens) {
      const std::int32_t index = sequence->blocks_cached();
      const auto ids = std::span(sequence->ids()).subspan(static_cast<std::size_t>(index) * 4, 4);
      cache_.Insert("", index > 0 ? sequence->block(index - 1) : -1, ids, sequence->block(index));
      sequence->MarkCached();
    }
    return sequence;
  }

  Reader reader_;
  BlockPool pool_{kLimits.num_blocks};
  PrefixCache cache_{pool_, kLimits.block_tokens};
  PrefillPace pace_{kLimits.max_in_flight};
  Admission admission_{kLimits, true, pool_, cache_, pace_};
  RequestHandle last_handle_ = 0;
};

TEST_F(AdmissionTest, GivesTheBlocksOfAllIds) {
  const auto sequence = Run(13);
  EXPECT_EQ(sequence->num_blocks(), 4);
  EXPECT_EQ(pool_.free(), 6);
  EXPECT_EQ(admission_.prefix_use().queries, 1U);
  EXPECT_EQ(admission_.prefix_use().query_tokens, 13U);
}

TEST_F(AdmissionTest, LeavesABlockForEachThatRuns) {
  const auto sequence = Make(32);
  EXPECT_EQ(admission_.Consider(*sequence, 2, {}).verdict, Admission::Verdict::kAdmit);
  EXPECT_EQ(admission_.Consider(*sequence, 3, {}).verdict, Admission::Verdict::kWait);
}

TEST_F(AdmissionTest, BlocksThatOthersHoldCostNothing) {
  const auto first = Run(32);
  const auto second = Make(32);
  // Seven of its eight blocks are there; the last is computed again, as its logits are needed.
  const Admission::Offer offer = admission_.Consider(*second, 1, {});
  EXPECT_EQ(offer.verdict, Admission::Verdict::kAdmit);
  EXPECT_EQ(offer.cached.size(), 7U);
  EXPECT_EQ(admission_.Consider(*second, 2, {}).verdict, Admission::Verdict::kWait);
  EXPECT_EQ(pool_.free(), 2) << "nothing was taken";
}

TEST_F(AdmissionTest, WhatCannotBeComputedInTimeIsTooLate) {
  const Clock::TimePoint now = Clock::TimePoint{} + std::chrono::hours(1);
  pace_.Record(64, std::chrono::seconds(16), now);  // at best 8 tokens a second
  const auto hopeless = Make(32, now + std::chrono::seconds(1));
  const auto possible = Make(32, now + std::chrono::seconds(30));
  EXPECT_EQ(admission_.Consider(*hopeless, 0, now).verdict, Admission::Verdict::kTooLate);
  EXPECT_EQ(admission_.Consider(*possible, 0, now).verdict, Admission::Verdict::kAdmit);
}

}  // namespace
}  // namespace thinkwire::worker::engine
