#include "common/rpc/request_checks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "common/peer_limits.h"
#include "common/rpc/resume_checks.h"
#include "common/rpc/status_details.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::rpc {
namespace {

using v1::GenerateRequest;

GenerateRequest Question() {
  GenerateRequest request;
  auto* message = request.mutable_prompt()->mutable_chat()->add_messages();
  message->set_role(v1::ROLE_USER);
  message->set_content("What is 27+48?");
  return request;
}

struct Change {
  std::string field;  // that the error must name
  std::function<void(GenerateRequest&)> apply;
};

TEST(CheckRequest, TakesEverythingThatIsBuilt) {
  GenerateRequest request = Question();
  request.set_variant("qwen-7b");
  request.set_priority(v1::PRIORITY_HIGH);
  for (auto* sampling : {request.mutable_reasoning_sampling(), request.mutable_answer_sampling()}) {
    sampling->set_temperature(0);
    sampling->set_top_p(1);
    sampling->set_top_k(0);
    sampling->set_min_p(0);
    sampling->add_stop_strings("\n\n");
    sampling->set_logprobs(true);
    sampling->set_top_logprobs(0);
  }
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(20);
  request.set_clamp_max_tokens(true);
  request.set_seed(0);
  request.mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  request.mutable_thinking()->set_budget_from_deadline(false);
  request.set_max_tokens(1);
  request.set_min_answer_tokens(0);
  request.set_ignore_eos(true);
  request.set_n(1);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
}

TEST(CheckRequest, TakesChatsThatEndInAToolOrGoOn) {
  GenerateRequest request = Question();
  v1::Chat& chat = *request.mutable_prompt()->mutable_chat();
  v1::ChatMessage& called = *chat.add_messages();
  called.set_role(v1::ROLE_ASSISTANT);
  called.add_tool_calls()->set_name("clock");
  chat.add_messages()->set_role(v1::ROLE_TOOL);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  chat.add_messages()->set_role(v1::ROLE_ASSISTANT);
  chat.set_continue_final_message(true);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
}

TEST(CheckRequest, APhaseTakesBackLogprobsWithTheirAlternatives) {
  GenerateRequest request = Question();
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(3);
  request.mutable_reasoning_sampling()->set_logprobs(false);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
}

TEST(CheckRequest, AConsensusIsOfSeveralOutputsAndOfNothingElse) {
  const std::vector<Change> wrong = {
      {"consensus.max_samples", [](auto& r) { r.mutable_consensus(); }},
      {"consensus.max_samples", [](auto& r) { r.mutable_consensus()->set_max_samples(1); }},
      {"consensus.max_samples", [](auto& r) { r.mutable_consensus()->set_max_samples(65); }},
      {"consensus.agreement", [](auto& r) { r.mutable_consensus()->set_agreement(0); }},
      {"consensus.agreement", [](auto& r) { r.mutable_consensus()->set_agreement(1.01F); }},
      {"consensus.agreement", [](auto& r) { r.mutable_consensus()->set_agreement(NAN); }},
      {"n", [](auto& r) { r.set_n(1); }},
      {"resume",
       [](auto& r) {
         r.set_variant("v");
         r.set_seed(1);
         r.mutable_resume()->set_prompt_tokens(1);
       }},
  };
  for (const Change& change : wrong) {
    GenerateRequest request = Question();
    if (std::string_view(change.field) != "consensus.max_samples") {
      request.mutable_consensus()->set_max_samples(2);
    }
    change.apply(request);
    const absl::Status status = CheckRequest(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << change.field;
    EXPECT_EQ(ErrorMetadata(status, "field"), change.field) << status;
  }
  GenerateRequest request = Question();
  request.mutable_consensus()->set_max_samples(64);
  request.mutable_consensus()->set_agreement(0.5F);
  request.set_require_resumable(true);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
}

TEST(CheckRequest, AnAnswersFormatIsOneOfItsKinds) {
  const std::vector<Change> wrong = {
      {"answer_format", [](auto& r) { r.mutable_answer_format(); }},
      {"answer_format.json_schema",
       [](auto& r) { r.mutable_answer_format()->set_json_schema(""); }},
      {"answer_format.json_schema",
       [](auto& r) {
         r.mutable_answer_format()->set_json_schema(std::string(kMaxSchemaBytes + 1, ' '));
       }},
      {"answer_format.regex",
       [](auto& r) {
         r.mutable_answer_format()->set_regex(std::string(kMaxPatternBytes + 1, 'a'));
       }},
      {"answer_format.choices.choices",
       [](auto& r) {
         r.mutable_answer_format()->mutable_choices()->add_choices("yes");
         r.mutable_answer_format()->mutable_choices()->add_choices("yes");
       }},
      {"answer_format.choices.choices[1]",
       [](auto& r) {
         r.mutable_answer_format()->mutable_choices()->add_choices("yes");
         r.mutable_answer_format()->mutable_choices()->add_choices("");
       }},
      {"ignore_eos",
       [](auto& r) {
         r.mutable_answer_format()->set_regex("a");
         r.set_ignore_eos(true);
       }},
  };
  for (const Change& change : wrong) {
    GenerateRequest request = Question();
    change.apply(request);
    const absl::Status status = CheckRequest(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << change.field;
    EXPECT_EQ(ErrorMetadata(status, "field"), change.field);
  }
  GenerateRequest request = Question();
  request.mutable_answer_format()->mutable_choices()->add_choices("yes");
  request.mutable_answer_format()->mutable_choices()->add_choices("no");
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
}

TEST(CheckRequest, TakesWishesWhereTheRouterMayChoose) {
  GenerateRequest request = Question();
  request.mutable_wishes()->set_quality(0.5);
  request.mutable_wishes()->set_max_cost(0);
  request.mutable_wishes()->set_task(v1::TASK_MATH);
  request.mutable_wishes()->mutable_latency()->set_seconds(1);
  EXPECT_TRUE(CheckRequest(request).ok());
  request.set_variant("qwen-7b");
  request.mutable_wishes()->set_may_substitute(true);
  EXPECT_TRUE(CheckRequest(request).ok());
}

TEST(CheckRequest, RefusesByNameWhatIsWrong) {
  const std::vector<Change> changes = {
      {"cache_salt", [](auto& r) { r.set_cache_salt(std::string(257, 's')); }},
      {"prompt", [](auto& r) { r.clear_prompt(); }},
      {"prompt.chat.messages", [](auto& r) { r.mutable_prompt()->mutable_chat()->Clear(); }},
      {"prompt.text", [](auto& r) { r.mutable_prompt()->set_text(""); }},
      {"prompt.token_ids.ids", [](auto& r) { r.mutable_prompt()->mutable_token_ids(); }},
      {"variant", [](auto& r) { r.mutable_prompt()->mutable_token_ids()->add_ids(1); }},
      {"prompt.chat.messages[0].role",
       [](auto& r) {
         r.mutable_prompt()->mutable_chat()->mutable_messages(0)->set_role(v1::ROLE_UNSPECIFIED);
       }},
      {"prompt.chat.messages[1].role",
       [](auto& r) {
         r.mutable_prompt()->mutable_chat()->add_messages()->set_role(v1::ROLE_SYSTEM);
       }},
      {"prompt.chat.messages",
       [](auto& r) {
         r.mutable_prompt()->mutable_chat()->add_messages()->set_role(v1::ROLE_ASSISTANT);
       }},
      {"prompt.chat.continue_final_message",
       [](auto& r) { r.mutable_prompt()->mutable_chat()->set_continue_final_message(true); }},
      {"prompt.chat.messages[0].tool_calls",
       [](auto& r) {
         r.mutable_prompt()->mutable_chat()->mutable_messages(0)->add_tool_calls()->set_name("f");
       }},
      {"prompt.chat.messages[1].tool_calls[0].name",
       [](auto& r) {
         v1::ChatMessage& message = *r.mutable_prompt()->mutable_chat()->add_messages();
         message.set_role(v1::ROLE_ASSISTANT);
         message.add_tool_calls();
       }},
      {"thinking.mode",
       [](auto& r) {
         r.mutable_prompt()->mutable_chat()->add_messages()->set_role(v1::ROLE_ASSISTANT);
         r.mutable_prompt()->mutable_chat()->set_continue_final_message(true);
         r.mutable_thinking()->set_mode(v1::THINKING_MODE_MODEL);
       }},
      {"wishes.task",
       [](auto& r) {
         r.set_variant("qwen-7b");
         r.mutable_wishes()->set_task(v1::TASK_MATH);
       }},
      {"wishes.quality",
       [](auto& r) {
         r.set_variant("qwen-7b");
         r.mutable_wishes()->set_quality(0);
       }},
      {"wishes.quality", [](auto& r) { r.mutable_wishes()->set_quality(1.5); }},
      {"wishes.quality", [](auto& r) { r.mutable_wishes()->set_quality(NAN); }},
      {"wishes.max_cost", [](auto& r) { r.mutable_wishes()->set_max_cost(-1); }},
      {"wishes.latency", [](auto& r) { r.mutable_wishes()->mutable_latency(); }},
      {"wishes.latency", [](auto& r) { r.mutable_wishes()->mutable_latency()->set_nanos(-1); }},
      {"max_tokens", [](auto& r) { r.set_max_tokens(0); }},
      {"max_tokens", [](auto& r) { r.set_max_tokens(-1); }},
      {"min_answer_tokens", [](auto& r) { r.set_min_answer_tokens(-1); }},
      {"thinking.budget_tokens", [](auto& r) { r.mutable_thinking()->set_budget_tokens(-1); }},
      {"thinking.landing_share", [](auto& r) { r.mutable_thinking()->set_landing_share(1.5F); }},
      {"thinking.closing_text",
       [](auto& r) { r.mutable_thinking()->set_closing_text(std::string(1025, 'a')); }},
      {"thinking.continue_text",
       [](auto& r) { r.mutable_thinking()->set_continue_text(std::string(1025, 'a')); }},
      {"thinking.min_tokens", [](auto& r) { r.mutable_thinking()->set_min_tokens(-1); }},
      {"thinking.min_tokens",
       [](auto& r) {
         r.mutable_thinking()->set_budget_tokens(5);
         r.mutable_thinking()->set_min_tokens(6);
       }},
      {"thinking.loop_limits",
       [](auto& r) {
         r.mutable_thinking()->mutable_loop_limits();
         r.mutable_loop_limits();
       }},
      {"loop_limits.max_repeats", [](auto& r) { r.mutable_loop_limits()->set_max_repeats(1); }},
      {"loop_limits.max_period_tokens",
       [](auto& r) { r.mutable_loop_limits()->set_max_period_tokens(2049); }},
      {"min_answer_tokens",
       [](auto& r) {
         r.set_max_tokens(5);
         r.set_min_answer_tokens(6);
       }},
      {"n", [](auto& r) { r.set_n(0); }},
      {"n", [](auto& r) { r.set_n(-1); }},
      {"n", [](auto& r) { r.set_n(65); }},
      {"thinking.mode",
       [](auto& r) {
         r.mutable_prompt()->set_text("x");
         r.mutable_thinking()->set_mode(v1::THINKING_MODE_FORCED);
       }},
      {"loop_limits.near_repetition_share",
       [](auto& r) { r.mutable_loop_limits()->set_near_repetition_share(0); }},
      {"thinking.loop_limits.near_repetition_share",
       [](auto& r) {
         r.mutable_thinking()->mutable_loop_limits()->set_near_repetition_share(1.1F);
       }},
      {"loop_limits.near_repetition_share",
       [](auto& r) { r.mutable_loop_limits()->set_near_repetition_share(std::nanf("")); }},
      {"answer_sampling.top_k", [](auto& r) { r.mutable_answer_sampling()->set_top_k(-1); }},
      {"answer_sampling.top_logprobs",
       [](auto& r) {
         r.mutable_answer_sampling()->set_logprobs(true);
         r.mutable_answer_sampling()->set_top_logprobs(21);
       }},
      {"answer_sampling.top_logprobs",
       [](auto& r) { r.mutable_answer_sampling()->set_top_logprobs(-1); }},
      {"reasoning_sampling.top_logprobs",
       [](auto& r) { r.mutable_reasoning_sampling()->set_top_logprobs(1); }},
      {"sampling.token_bytes", [](auto& r) { r.mutable_sampling()->set_token_bytes(true); }},
      {"answer_sampling.token_bytes",
       [](auto& r) {
         r.mutable_answer_sampling()->set_top_logprobs(1);
         r.mutable_answer_sampling()->set_token_bytes(true);
       }},
      {"sampling.top_p", [](auto& r) { r.mutable_sampling()->set_top_p(2); }},
      {"sampling.top_logprobs", [](auto& r) { r.mutable_sampling()->set_top_logprobs(1); }},
      {"answer_sampling.top_logprobs",
       [](auto& r) {
         r.mutable_sampling()->set_logprobs(true);
         r.mutable_answer_sampling()->set_logprobs(false);
         r.mutable_answer_sampling()->set_top_logprobs(1);
       }},
      {"answer_sampling.stop_strings[0]",
       [](auto& r) { r.mutable_answer_sampling()->add_stop_strings(""); }},
      {"answer_sampling.stop_strings[0]",
       [](auto& r) { r.mutable_answer_sampling()->add_stop_strings(std::string(257, 'x')); }},
      {"answer_sampling.logit_bias[7]",
       [](auto& r) { (*r.mutable_answer_sampling()->mutable_logit_bias())[7] = 100.5F; }},
      {"answer_sampling.logit_bias[7]",
       [](auto& r) { (*r.mutable_answer_sampling()->mutable_logit_bias())[7] = std::nanf(""); }},
      {"reasoning_sampling.logit_bias",
       [](auto& r) {
         for (int i = 0; i <= 1024; ++i) {
           (*r.mutable_reasoning_sampling()->mutable_logit_bias())[i] = 1;
         }
       }},
      {"reasoning_sampling.stop_token_ids",
       [](auto& r) {
         for (int i = 0; i < 17; ++i) r.mutable_reasoning_sampling()->add_stop_token_ids(i);
       }},
      {"answer_sampling.stop_strings",
       [](auto& r) {
         for (int i = 0; i < 17; ++i) r.mutable_answer_sampling()->add_stop_strings("x");
       }},
  };
  for (const Change& change : changes) {
    GenerateRequest request = Question();
    change.apply(request);
    const absl::Status status = CheckRequest(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << change.field;
    EXPECT_EQ(ErrorMetadata(status, "field"), change.field) << status.message();
  }
}

TEST(CheckRequest, NoNumberOutsideItsRangePasses) {
  using Set = void (v1::PhaseSampling::*)(float);
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<std::pair<Set, std::vector<float>>> cases = {
      {&v1::PhaseSampling::set_temperature, {std::nanf(""), inf, -inf, -0.1F, 2.1F}},
      {&v1::PhaseSampling::set_top_p, {std::nanf(""), inf, -inf, 0.0F, -0.1F, 1.1F}},
      {&v1::PhaseSampling::set_min_p, {std::nanf(""), inf, -inf, -0.1F, 1.1F}},
      {&v1::PhaseSampling::set_repetition_penalty, {std::nanf(""), inf, -inf, 0.0F, -1.0F, 2.1F}},
      {&v1::PhaseSampling::set_presence_penalty, {std::nanf(""), inf, -inf, -2.1F, 2.1F}},
      {&v1::PhaseSampling::set_frequency_penalty, {std::nanf(""), inf, -inf, -2.1F, 2.1F}},
  };
  for (const auto& [set, values] : cases) {
    for (const float value : values) {
      GenerateRequest request = Question();
      (request.mutable_reasoning_sampling()->*set)(value);
      EXPECT_EQ(CheckRequest(request).code(), absl::StatusCode::kInvalidArgument) << value;
    }
  }
}

TEST(CheckRequest, AWorkersRequestNeedsIdAttemptAndSeed) {
  v1::WorkerGenerateRequest request;
  *request.mutable_request() = Question();
  request.mutable_request()->set_seed(7);
  request.set_request_id("r1");
  request.set_attempt(1);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());

  auto broken = request;
  broken.set_attempt(0);
  EXPECT_EQ(ErrorMetadata(CheckRequest(broken), "field"), "attempt");
  broken = request;
  broken.set_request_id(std::string(129, 'x'));
  EXPECT_EQ(ErrorMetadata(CheckRequest(broken), "field"), "request_id");
  broken = request;
  broken.mutable_request()->clear_seed();
  EXPECT_EQ(ErrorMetadata(CheckRequest(broken), "field"), "request.seed");
  broken = request;
  broken.mutable_request()->mutable_consensus()->set_max_samples(2);
  EXPECT_EQ(ErrorMetadata(CheckRequest(broken), "field"), "request.consensus");
}

v1::WorkerGenerateRequest Resumed() {
  v1::WorkerGenerateRequest request;
  request.mutable_request()->set_seed(7);
  request.mutable_request()->set_max_tokens(3);
  request.set_request_id("r1");
  request.set_attempt(2);
  request.mutable_resume()->add_prompt_ids(5);
  v1::OutputState& output = *request.mutable_resume()->add_outputs();
  output.add_token_ids(6);
  output.add_token_ids(7);
  output.set_reasoning_tokens(2);
  return request;
}

TEST(CheckResume, AClientGivesItWithSeedAndVariant) {
  GenerateRequest request = Question();
  *request.mutable_resume() = Resumed().resume();
  EXPECT_EQ(ErrorMetadata(CheckRequest(request), "field"), "variant");
  request.set_variant("qwen-7b");
  EXPECT_EQ(ErrorMetadata(CheckRequest(request), "field"), "seed");
  request.set_seed(7);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.clear_prompt();
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_resume()->clear_prompt_ids();
  request.mutable_resume()->set_prompt_tokens(1);
  EXPECT_EQ(ErrorMetadata(CheckRequest(request), "field"), "prompt");
  v1::WorkerGenerateRequest worker = Resumed();
  *worker.mutable_request()->mutable_resume() = worker.resume();
  EXPECT_EQ(ErrorMetadata(CheckRequest(worker), "field"), "request.resume");
}

TEST(CheckRequest, WhatIsBuiltCanBeTakenOver) {
  GenerateRequest request = Question();
  request.set_require_resumable(true);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_reasoning_sampling()->add_stop_strings("so");
  request.mutable_answer_sampling()->set_logprobs(true);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_answer_format()->set_regex("[0-9]+");
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.set_n(64);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.clear_n();
  request.mutable_consensus()->set_max_samples(2);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
}

TEST(CheckResume, IdsStandForThePromptAndItsThinkingMode) {
  v1::WorkerGenerateRequest request = Resumed();
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_request()->mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  *request.mutable_request()->mutable_prompt() = Question().prompt();
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_resume()->clear_prompt_ids();
  request.mutable_resume()->set_prompt_tokens(9);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_request()->clear_prompt();
  EXPECT_EQ(ErrorMetadata(CheckRequest(request), "field"), "prompt");
}

TEST(CheckResume, OutputsComeOnceEachInAnyOrder) {
  v1::WorkerGenerateRequest request = Resumed();
  request.mutable_request()->set_n(3);
  v1::OutputState& other = *request.mutable_resume()->add_outputs();
  other = request.resume().outputs(0);
  request.mutable_resume()->mutable_outputs(0)->set_output_index(2);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_resume()->add_outputs()->set_output_index(2);
  EXPECT_EQ(ErrorMetadata(CheckRequest(request), "field"), "resume.outputs[2].output_index");
  request.mutable_resume()->mutable_outputs(2)->set_output_index(1);
  EXPECT_EQ(CheckRequest(request), absl::OkStatus());
  request.mutable_request()->clear_max_tokens();
  for (int i = 0; i < 1 << 20; ++i) request.mutable_resume()->mutable_outputs(2)->add_token_ids(1);
  EXPECT_EQ(ErrorMetadata(CheckRequest(request), "field"), "resume.outputs");
}

struct ResumeChange {
  std::string field;
  void (*apply)(v1::ResumeState&, v1::OutputState&);
};

TEST(CheckResume, RefusesByNameWhatIsWrongWhateverTheModel) {
  const std::vector<ResumeChange> changes = {
      {"resume.prompt_tokens", [](auto& r, auto&) { r.clear_prompt_ids(); }},
      {"resume.prompt_tokens", [](auto& r, auto&) { r.set_prompt_tokens(2); }},
      {"resume.prompt_tokens",
       [](auto& r, auto&) {
         r.clear_prompt_ids();
         r.set_prompt_tokens((1 << 20) + 1);
       }},
      {"resume.fingerprint", [](auto& r, auto&) { r.set_fingerprint(std::string(257, 'f')); }},
      {"resume.outputs[1].output_index", [](auto& r, auto&) { r.add_outputs(); }},
      {"resume.outputs[1].output_index",
       [](auto& r, auto&) { r.add_outputs()->set_output_index(1); }},
      {"resume.outputs[0].output_index", [](auto&, auto& o) { o.set_output_index(1); }},
      {"resume.outputs[0].output_index", [](auto&, auto& o) { o.set_output_index(-1); }},
      {"resume.outputs[0].token_ids",
       [](auto&, auto& o) {
         o.add_token_ids(8);
         o.add_token_ids(9);
       }},
      {"resume.outputs[0].forced_tokens", [](auto&, auto& o) { o.set_forced_tokens(3); }},
      {"resume.outputs[0].forced_tokens", [](auto&, auto& o) { o.set_forced_tokens(-1); }},
      {"resume.outputs[0].reasoning_tokens", [](auto&, auto& o) { o.set_reasoning_tokens(3); }},
      {"resume.outputs[0].reasoning_tokens", [](auto&, auto& o) { o.set_reasoning_tokens(-1); }},
      {"resume.outputs[0].reasoning_duration",
       [](auto&, auto& o) { o.mutable_reasoning_duration()->set_seconds(-1); }},
      {"resume.outputs[0].reasoning_duration",
       [](auto&, auto& o) { o.mutable_reasoning_duration()->set_seconds(1LL << 40); }},
      {"resume.outputs[0].reasoning_text_bytes",
       [](auto&, auto& o) { o.set_reasoning_text_bytes(-1); }},
      {"resume.outputs[0].answer_text_bytes",
       [](auto&, auto& o) { o.set_answer_text_bytes(1LL << 62); }},
  };
  for (const ResumeChange& change : changes) {
    v1::WorkerGenerateRequest request = Resumed();
    change.apply(*request.mutable_resume(), *request.mutable_resume()->mutable_outputs(0));
    const absl::Status status = CheckRequest(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << change.field;
    EXPECT_EQ(ErrorMetadata(status, "field"), change.field) << status.message();
  }
}

TEST(CheckResume, NeedsTheSeed) {
  v1::WorkerGenerateRequest request = Resumed();
  request.mutable_request()->clear_seed();
  EXPECT_EQ(ErrorMetadata(CheckResume(request.resume(), request.request()), "field"), "seed");
}

}  // namespace
}  // namespace thinkwire::rpc
