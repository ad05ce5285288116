#include "router/client/chat_request.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace thinkwire::router::client {
namespace {

void SetSampling(const ChatOptions& options, v1::PhaseSampling* sampling) {
  if (options.temperature) sampling->set_temperature(*options.temperature);
  if (options.top_p) sampling->set_top_p(*options.top_p);
  if (options.top_k) sampling->set_top_k(*options.top_k);
  if (options.min_p) sampling->set_min_p(*options.min_p);
  if (options.repetition_penalty) sampling->set_repetition_penalty(*options.repetition_penalty);
  if (options.presence_penalty) sampling->set_presence_penalty(*options.presence_penalty);
  if (options.frequency_penalty) sampling->set_frequency_penalty(*options.frequency_penalty);
}

}  // namespace

v1::GenerateRequest MakeRequest(const ChatOptions& options) {
  v1::GenerateRequest request;
  request.set_variant(options.variant);
  for (int value = v1::Task_MIN; value <= v1::Task_MAX && !options.task.empty(); ++value) {
    const auto task = static_cast<v1::Task>(value);
    if (v1::Task_Name(task) == absl::StrCat("TASK_", absl::AsciiStrToUpper(options.task))) {
      request.mutable_wishes()->set_task(task);
    }
  }
  SetSampling(options, request.mutable_reasoning_sampling());
  SetSampling(options, request.mutable_answer_sampling());
  if (!options.stop.empty()) request.mutable_answer_sampling()->add_stop_strings(options.stop);
  if (options.seed) request.set_seed(*options.seed);
  if (options.max_tokens) request.set_max_tokens(*options.max_tokens);
  if (!options.thinking) request.mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  if (!options.system.empty()) {
    auto* message = request.mutable_prompt()->mutable_chat()->add_messages();
    message->set_role(v1::ROLE_SYSTEM);
    message->set_content(options.system);
  }
  return request;
}

}  // namespace thinkwire::router::client
