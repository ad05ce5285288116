#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "worker/serve/request_reader.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::serve {

// Has `reading`, whose prompt and options are read, go on from where an earlier worker had its
// outputs, those that had begun: the ids of each are replayed through engine::Replay and
// OutputEvents, and what else its state says must be what they give. Takes as long as the texts
// took to detokenise.
// REQUIRES: rpc::CheckResume of the state is OK.
// Fails: INVALID_ARGUMENT, naming the field that the vocabulary, the context or the ids contradict.
absl::Status ReadOutputStates(const v1::ResumeState& resume, const text::Tokenizer& tokenizer,
                              const ServedModel& model, RequestReader::Reading& reading);

// Another worker is told prompt and outputs in one message of kMaxMessageBytes, where an id takes
// three bytes; some are left for the rest of the request.
inline constexpr std::int64_t kMaxResumableTokens = 600'000;

// Fails: FAILED_PRECONDITION, NOT_RESUMABLE: a request of that prompt may come to more tokens.
absl::Status CheckResumable(std::int64_t prompt_tokens, std::int64_t outputs,
                            std::int64_t max_tokens);

}  // namespace thinkwire::worker::serve
