#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace thinkwire::router {

// What a request is about.
enum class Task : std::uint8_t { kGeneral, kMath, kCode, kScience, kWriting, kExtraction };
inline constexpr Task kAllTasks[] = {Task::kGeneral, Task::kMath,    Task::kCode,
                                     Task::kScience, Task::kWriting, Task::kExtraction};

// The word by which configuration, command line and reasons call it: "math".
std::string_view TaskName(Task task);
// Nullopt: no task has that name. Letter case counts.
std::optional<Task> TaskByName(std::string_view name);

}  // namespace thinkwire::router
