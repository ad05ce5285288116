#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "worker/engine/request.h"
#include "worker/serve/answer_formats.h"
#include "worker/serve/output_events.h"
#include "worker/serve/served_model.h"
#include "worker/serve/thinking_reader.h"
#include "worker/serve/worker_metrics.h"
#include "worker/step/runner.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::serve {

// Turns a checked request of the contract into what the engine runs and how its output is read.
// Threads: any. Borrows all, which must outlive it and the engine's requests.
class RequestReader {
 public:
  // An output as an earlier worker had it.
  struct Begun {
    engine::Request request;  // as Reading's, with its ids and what they do not tell
    std::unique_ptr<OutputEvents> events;
  };
  struct Reading {
    // Of each output that has not begun, but for its index.
    engine::Request request;
    OutputEvents::Options output;
    std::int32_t num_outputs = 1;
    std::map<std::int32_t, Begun> begun = {};  // by output index
    std::int32_t max_tokens = 0;               // max_tokens, or what the context leaves
    std::size_t format_bytes = 0;

    // What is kept of it in memory until the request has ended.
    std::size_t bytes() const;
    // Outputs that are not over, and go to the engine.
    std::int32_t num_to_run() const;
    // Ids of outputs that earlier workers have sent.
    std::int32_t num_resumed_ids() const;

   private:
    std::size_t bytes_of_output() const;
  };

  RequestReader(const text::Tokenizer& tokenizer, const text::ChatTemplate& chat_template,
                const ServedModel& model, WorkerMetrics* metrics = nullptr);

  // `resume`, if not null: where an earlier attempt had come; its prompt ids, if it has any, stand
  // for the prompt. `end_without_answer` is WorkerGenerateRequest's.
  // REQUIRES: rpc::CheckRequest of the worker's request is OK. Renders and tokenises: takes long
  // for long prompts and outputs. Fails: INVALID_ARGUMENT, naming the field, what does not fit the
  // vocabulary or the context (with both numbers), or contradicts itself; FAILED_PRECONDITION,
  // PROMPT_DIFFERS, a prompt that has another number of tokens than it had; OPTIONS_DIFFER, what
  // this worker's options do not allow.
  absl::StatusOr<Reading> Read(const v1::GenerateRequest& request,
                               const v1::ResumeState* resume = nullptr,
                               bool end_without_answer = false) const;

  // The ids of a prompt. Fails: INVALID_ARGUMENT, naming the field.
  absl::StatusOr<std::vector<std::int32_t>> ReadPrompt(const v1::Prompt& prompt,
                                                       v1::ThinkingMode mode) const;

 private:
  absl::StatusOr<std::vector<std::int32_t>> ReadChat(const v1::Chat& chat,
                                                     v1::ThinkingMode mode) const;
  absl::Status ReadFormat(const v1::GenerateRequest& request, Reading& reading) const;
  absl::StatusOr<std::vector<std::int32_t>> ReadPromptOf(const v1::GenerateRequest& request,
                                                         const v1::ResumeState* resume) const;
  void ReadFirstPhase(Reading& reading) const;
  absl::Status ReadSamplings(const v1::GenerateRequest& request, Reading& reading) const;
  // Fails: `sampling` names what the vocabulary has not.
  absl::Status CheckVocabulary(const v1::PhaseSampling& sampling, const char* field) const;
  absl::StatusOr<std::int32_t> ReadMaxTokens(const v1::GenerateRequest& request,
                                             std::size_t prompt_tokens) const;
  // All that a request says of one phase, in `field`.
  absl::Status ReadPhase(step::Phase phase, const v1::PhaseSampling& sampling, const char* field,
                         Reading& reading) const;
  absl::StatusOr<step::PhaseSampling> ReadSampling(const v1::PhaseSampling& sampling,
                                                   const char* field) const;
  absl::StatusOr<std::vector<step::LogitBias>> ReadBiases(const v1::PhaseSampling& sampling,
                                                          const char* field) const;
  absl::StatusOr<std::vector<std::int32_t>> ReadStopIds(const v1::PhaseSampling& sampling,
                                                        const char* field) const;
  // Added tokens may have ids beyond the model's rows. Fails: INVALID_ARGUMENT, naming the token.
  absl::Status CheckRows(const char* field, const std::vector<std::int32_t>& ids) const;
  // Fails: INVALID_ARGUMENT, naming the element of `field` that is no id of the model.
  absl::Status CheckIds(const std::string& field, const std::vector<std::int32_t>& ids) const;

  const text::Tokenizer& tokenizer_;
  const text::ChatTemplate& chat_template_;
  const ServedModel& model_;
  const std::shared_ptr<const std::vector<bool>> blanks_;  // engine::Opening's
  const ThinkingReader thinking_;
  const std::unique_ptr<AnswerFormats> formats_;
};

}  // namespace thinkwire::worker::serve
