#include "router/task.h"

#include <cstddef>
#include <iterator>

namespace thinkwire::router {
namespace {

constexpr std::string_view kTaskNames[] = {"general", "math",    "code",
                                           "science", "writing", "extraction"};
static_assert(std::size(kTaskNames) == std::size(kAllTasks));

}  // namespace

std::string_view TaskName(Task task) { return kTaskNames[static_cast<std::size_t>(task)]; }

std::optional<Task> TaskByName(std::string_view name) {
  for (const Task task : kAllTasks) {
    if (TaskName(task) == name) return task;
  }
  return std::nullopt;
}

}  // namespace thinkwire::router
