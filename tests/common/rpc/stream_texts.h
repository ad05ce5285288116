#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {

// The events of a whole stream, of three prompt tokens, three of reasoning and two of answer.
inline constexpr char kQueued[] = "queued { position: 1 }";
inline constexpr char kStarted[] =
    "started { prompt_tokens: 3 cached_prompt_tokens: 1 first_phase: PHASE_REASONING seed: 7 "
    "fingerprint: 'f' limits { max_tokens: 5 max_model_len: 8 vocab_size: 10 } }";
inline constexpr char kReasoning[] = "reasoning_delta { token_ids: [5, 6] }";
inline constexpr char kReasoned[] =
    "reasoning_finished { cause: REASONING_FINISH_CAUSE_MODEL reasoning_tokens: 3 token_ids: 7 }";
inline constexpr char kAnswer[] = "answer_delta { token_ids: 8 }";
inline constexpr char kFinished[] =
    "finished { reason: FINISH_REASON_END phase: PHASE_ANSWER "
    "tokens { reasoning_tokens: 3 answer_tokens: 2 } token_ids: 2 }";
inline constexpr char kCompleted[] =
    "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 reasoning_tokens: 3 "
    "answer_tokens: 2 } }";

inline v1::GenerateResponse Event(const std::string& text) {
  v1::GenerateResponse event;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &event)) << text;
  return event;
}

}  // namespace thinkwire::rpc
