#include "worker/engine/sequence.h"

#include <gtest/gtest.h>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

constexpr std::int32_t kBlockTokens = 4;
constexpr std::int32_t kPrompt = 6;

// A sequence that runs, and the blocks that it takes from.
class SequenceTest : public testing::Test {
 protected:
  void Run(const Request& request) {
    sequence_ =
        std::make_unique<Sequence>(1, request, request.max_tokens.value(), reader_.stream());
    sequence_->Admit(0);
    while (sequence_->num_blocks() < 4) sequence_->AddBlock(*pool_.Allocate());
    sequence_->OnTold();
  }

  // Computes what there is and draws `id`.
  void Draw(std::int32_t id) {
    sequence_->OnSubmitted(sequence_->committed() - sequence_->computed(), 1);
    EXPECT_TRUE(sequence_->OnCollected(1, sequence_->epoch()));
    sequence_->Commit(id, 0);
    Check();
  }

  void Check() { sequence_->CheckInvariants(kBlockTokens); }

  ~SequenceTest() override { sequence_.reset(); }

  BlockPool pool_{8};
  Reader reader_;
  std::unique_ptr<Sequence> sequence_;
};

TEST_F(SequenceTest, RowsOfAnOlderEpochCountForNothing) {
  Run(MakeRequest(1, kPrompt, 20));
  sequence_->OnSubmitted(kPrompt, 1);
  const std::uint32_t before = sequence_->epoch();
  sequence_->Rewind(kPrompt, kBlockTokens);
  Check();
  EXPECT_EQ(sequence_->draws_in_flight(), 0);
  EXPECT_EQ(sequence_->steps_in_flight(), 1);
  EXPECT_EQ(sequence_->computed(), kPrompt - 1);
  sequence_->OnSubmitted(1, 1);
  EXPECT_FALSE(sequence_->OnCollected(1, before));
  EXPECT_EQ(sequence_->draws_in_flight(), 1);
  EXPECT_TRUE(sequence_->OnCollected(1, sequence_->epoch()));
  EXPECT_EQ(sequence_->steps_in_flight(), 0);
}

TEST_F(SequenceTest, ForceKeepsWhatWasComputedFromKnownIds) {
  Run(MakeRequest(1, kPrompt, 20));
  Draw(50);
  sequence_->OnSubmitted(1, 1);  // 50 is an input, what follows it is being drawn
  const Token token = sequence_->Force(60, TokenOrigin::kBudget);
  Check();
  EXPECT_EQ(token.origin, TokenOrigin::kBudget);
  EXPECT_EQ(sequence_->computed(), kPrompt + 1);
  EXPECT_EQ(sequence_->committed(), kPrompt + 2);
  sequence_->Force(61, TokenOrigin::kBudget);
  EXPECT_FALSE(sequence_->decoding());
  EXPECT_EQ(sequence_->generated(), 3);
  sequence_->OnCollected(1, 0);
}

TEST_F(SequenceTest, ForceDoesNotTrustAnInputThatWasBeingDrawn) {
  Run(MakeRequest(1, kPrompt, 20));
  sequence_->OnSubmitted(kPrompt, 1);
  sequence_->OnSubmitted(1, 1);  // the id that the row before draws
  sequence_->Force(60, TokenOrigin::kBudget);
  Check();
  EXPECT_EQ(sequence_->computed(), kPrompt);
  sequence_->OnCollected(1, 0);
  sequence_->OnCollected(1, 0);
}

TEST_F(SequenceTest, RewindGivesUpACachedBlockThatItWouldWriteTo) {
  Run(MakeRequest(1, kPrompt, 20));
  for (const std::int32_t id : {50, 51, 52, 53}) Draw(id);
  ASSERT_EQ(sequence_->computed(), 9);
  sequence_->MarkCached();
  sequence_->MarkCached();
  // Position 6, the next input, lies in the second block.
  const std::vector<BlockHandle> dropped = sequence_->Rewind(7, kBlockTokens);
  Check();
  EXPECT_EQ(dropped.size(), 3U);
  EXPECT_EQ(sequence_->num_blocks(), 1);
  EXPECT_EQ(sequence_->blocks_cached(), 1);
  EXPECT_EQ(sequence_->blocks_told(), 1);
  EXPECT_EQ(sequence_->computed(), 4);
}

TEST_F(SequenceTest, RewindKeepsItsOwnBlocks) {
  Run(MakeRequest(1, kPrompt, 20));
  for (const std::int32_t id : {50, 51, 52, 53}) Draw(id);
  sequence_->MarkCached();
  const std::vector<BlockHandle> dropped = sequence_->Rewind(8, kBlockTokens);
  Check();
  EXPECT_EQ(dropped.size(), 2U);
  EXPECT_EQ(sequence_->num_blocks(), 2);
  EXPECT_EQ(sequence_->computed(), 7);
}

TEST_F(SequenceTest, RewindBringsPhaseAndCountsBack) {
  Request request = MakeRequest(1, kPrompt, 20);
  request.sampling.phases[step::Phase::kReasoning].presence_penalty = 1;
  Run(request);
  for (const std::int32_t id : {50, kThinkEnd, 51}) Draw(id);
  EXPECT_EQ(sequence_->phase(), step::Phase::kAnswer);
  EXPECT_EQ(sequence_->counted_draws().size(), 1U);
  sequence_->Rewind(kPrompt + 2, kBlockTokens);
  EXPECT_EQ(sequence_->phase(), step::Phase::kAnswer);
  EXPECT_EQ(sequence_->counted_draws().size(), 0U);
  EXPECT_FALSE(sequence_->sampling_told());
  sequence_->Rewind(kPrompt + 1, kBlockTokens);
  EXPECT_EQ(sequence_->phase(), step::Phase::kReasoning);
  EXPECT_EQ(sequence_->counted_draws().size(), 1U);
  EXPECT_EQ(sequence_->generated(), 1);
}

TEST_F(SequenceTest, RewindForgetsWhatWasLostToo) {
  Run(MakeRequest(1, kPrompt, 20));
  for (const std::int32_t id : {50, 51, 52, 53}) Draw(id);
  sequence_->Leave();
  while (sequence_->TakeLastBlock()) {
  }
  sequence_->Requeue();
  EXPECT_EQ(sequence_->RecomputedOf(20), 9);
  sequence_->Rewind(7, kBlockTokens);
  EXPECT_EQ(sequence_->RecomputedOf(20), 6);
}

}  // namespace
}  // namespace thinkwire::worker::engine
