#include "worker/model/memory_text.h"

#include <gtest/gtest.h>

namespace thinkwire::worker::model {
namespace {

TEST(MemoryTextTest, SaysWeightsKvCacheAndContext) {
  ModelInfo info;
  info.weight_bytes = 15'231'233'024;
  info.kv_cache_bytes = 7'516'192'768;
  step::Limits limits = {.max_model_len = 131072, .block_tokens = 16, .num_blocks = 8192};
  EXPECT_EQ(MemoryText(info, limits), "weights 15.2 GB, KV cache 7.5 GB: 131072 tokens of context");
  info.host_embedding_bytes = 1'090'000'000;
  limits.num_blocks = 1024;
  EXPECT_EQ(MemoryText(info, limits),
            "weights 15.2 GB (the embedding's 1.1 GB are in host memory), KV cache 7.5 GB: 16385 "
            "of 131072 tokens of context");
}

}  // namespace
}  // namespace thinkwire::worker::model
