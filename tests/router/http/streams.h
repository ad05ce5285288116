#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/fakes/fake_worker.h"

namespace thinkwire::router::http {

// Well-formed streams that a FakeWorker plays, each made of SmallStream.

using Stream = std::vector<v1::GenerateResponse>;

// As for n = 2: the same twice, the second time as output 1, which answers "two".
inline Stream TwoOutputs() {
  Stream events = SmallStream();
  Stream second(events.begin() + 2, events.begin() + 6);
  second[0].mutable_reasoning_delta()->set_output_index(1);
  second[1].mutable_reasoning_finished()->set_output_index(1);
  second[2].mutable_answer_delta()->set_output_index(1);
  second[2].mutable_answer_delta()->set_text("two");
  second[3].mutable_finished()->set_output_index(1);
  v1::Usage& usage = *events[6].mutable_completed()->mutable_usage();
  usage.set_reasoning_tokens(6);
  usage.set_answer_tokens(4);
  // Between the first one's thoughts and its answer.
  events.insert(events.begin() + 4, second.begin(), second.end());
  return events;
}

// With so many pieces of 4,000 letters "Z" for an answer.
inline Stream LongStream(int pieces) {
  Stream events = SmallStream();
  events[1].mutable_started()->mutable_limits()->set_max_tokens(pieces + 10);
  v1::GenerateResponse delta = events[4];
  delta.mutable_answer_delta()->set_text(std::string(4000, 'Z'));
  events[5].mutable_finished()->mutable_tokens()->set_answer_tokens(pieces + 1);
  events[6].mutable_completed()->mutable_usage()->set_answer_tokens(pieces + 1);
  events.erase(events.begin() + 4);
  events.insert(events.begin() + 4, static_cast<std::size_t>(pieces), delta);
  return events;
}

// A token as a worker tells it, and one that it might have been.
inline void TellToken(const std::string& token, int silent_bytes, float logprob,
                      v1::TokenLogprob* told) {
  told->set_token(token);
  told->set_silent_bytes(silent_bytes);
  told->set_logprob(logprob);
  v1::TokenAlternative& other = *told->add_alternatives();
  other.set_token_id(7);
  other.set_token("\xE4\xBD");  // a part of a character
  other.set_logprob(-2);
}

// For top_logprobs = 1, of the answer or of the reasoning too.
inline Stream ToldTokens(bool reasoning) {
  Stream events = SmallStream();
  if (reasoning) {
    v1::ReasoningDelta& delta = *events[2].mutable_reasoning_delta();
    TellToken("So", 0, -0.5, delta.add_logprobs());
    TellToken(" 2.", 0, -0.25, delta.add_logprobs());
    TellToken("</think>", 8, -0.125, events[3].mutable_reasoning_finished()->add_logprobs());
  }
  TellToken("2", 0, -0.75, events[4].mutable_answer_delta()->add_logprobs());
  TellToken("<end>", 5, -1, events[5].mutable_finished()->add_logprobs());
  return events;
}

}  // namespace thinkwire::router::http
