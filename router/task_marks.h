#pragma once

#include <span>
#include <string_view>

#include "router/task.h"

namespace thinkwire::router {

// Words and phrases that tell of a task, each worth `weight`, with ", " between them. Those of
// languages that put spaces between words are in lower case and match whole words; the others match
// anywhere, as Chinese and Japanese have none.
struct TaskMarks {
  Task task;
  double weight;
  std::string_view words;
};

// English, German, French and Spanish.
std::span<const TaskMarks> SpacedMarks();
// Chinese and Japanese.
std::span<const TaskMarks> UnspacedMarks();

}  // namespace thinkwire::router
