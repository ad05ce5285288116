#include "router/query.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "common/clock.h"
#include "common/rpc/num_outputs.h"
#include "common/rpc/proto_time.h"
#include "router/task_estimate.h"

namespace thinkwire::router {
namespace {

// Of text, about, for the decision's estimate.
constexpr std::size_t kBytesPerId = 4;

// What the user asks: the last message, or the raw prompt.
std::string_view Question(const v1::Prompt& prompt) {
  const auto& messages = prompt.chat().messages();
  return messages.empty() ? prompt.text() : messages.rbegin()->content();
}

std::size_t PromptBytes(const v1::Prompt& prompt) {
  std::size_t bytes = prompt.text().size() + kBytesPerId * prompt.token_ids().ids_size();
  for (const v1::ChatMessage& message : prompt.chat().messages()) {
    bytes += message.content().size();
  }
  return bytes;
}

decision::Wishes ReadWishes(const v1::Wishes& wishes) {
  decision::Wishes read{.quality = wishes.quality(),
                        .asks_quality = wishes.has_quality(),
                        .may_substitute = wishes.may_substitute()};
  if (wishes.has_latency()) read.latency_s = ToSeconds(rpc::ReadDuration(wishes.latency()));
  if (wishes.has_max_cost()) read.max_cost = wishes.max_cost();
  return read;
}

// Those that it goes on from may be over.
std::int32_t OpenOutputs(const v1::GenerateRequest& request) {
  const auto over = std::ranges::count_if(request.resume().outputs(), &v1::OutputState::finished);
  const auto all = static_cast<std::int64_t>(rpc::NumOutputs(request));
  return static_cast<std::int32_t>(std::max<std::int64_t>(all - over, 1));
}

// Both requests ask for a variant in the same words.
template <class Request>
decision::Query QueryOf(const Request& request) {
  decision::Query query;
  query.variant = request.variant();
  query.task = ReadTask(request.wishes().task());
  if (!query.task) query.estimated_task = EstimateTask(Question(request.prompt()));
  query.prompt_bytes = PromptBytes(request.prompt());
  query.wishes = ReadWishes(request.wishes());
  return query;
}

}  // namespace

std::optional<Task> ReadTask(v1::Task task) {
  switch (task) {
    case v1::TASK_GENERAL:
      return Task::kGeneral;
    case v1::TASK_MATH:
      return Task::kMath;
    case v1::TASK_CODE:
      return Task::kCode;
    case v1::TASK_SCIENCE:
      return Task::kScience;
    case v1::TASK_WRITING:
      return Task::kWriting;
    case v1::TASK_EXTRACTION:
      return Task::kExtraction;
    default:
      return std::nullopt;
  }
}

v1::Task MakeTask(Task task) {
  for (int value = v1::Task_MIN; value <= v1::Task_MAX; ++value) {
    if (ReadTask(static_cast<v1::Task>(value)) == task) return static_cast<v1::Task>(value);
  }
  return v1::TASK_UNSPECIFIED;
}

decision::Query MakeQuery(const v1::GenerateRequest& request) {
  decision::Query query = QueryOf(request);
  query.prompt_bytes += kBytesPerId * request.resume().prompt_ids_size();
  // What there is of it has meaning for its own variant alone.
  if (request.has_resume()) query.wishes.may_substitute = false;
  query.outputs = OpenOutputs(request);
  query.thinks = request.thinking().mode() != v1::THINKING_MODE_OFF;
  query.hurries = request.thinking().budget_from_deadline();
  if (request.has_max_tokens()) query.max_tokens = request.max_tokens();
  return query;
}
decision::Query MakeQuery(const v1::CountTokensRequest& request) { return QueryOf(request); }

}  // namespace thinkwire::router
