#include "router/query.h"

namespace thinkwire::router {
namespace {

// Both requests ask for a variant in the same words.
template <class Request>
decision::Query QueryOf(const Request& request) {
  decision::Query query;
  query.variant = request.variant();
  query.task = ReadTask(request.wishes().task());
  query.prompt_bytes = request.prompt().text().size();
  for (const v1::ChatMessage& message : request.prompt().chat().messages()) {
    query.prompt_bytes += message.content().size();
  }
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

decision::Query MakeQuery(const v1::GenerateRequest& request) { return QueryOf(request); }
decision::Query MakeQuery(const v1::CountTokensRequest& request) { return QueryOf(request); }

}  // namespace thinkwire::router
