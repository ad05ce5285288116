#pragma once

#include <string_view>

#include "router/task.h"

namespace thinkwire::router {

// What a question is about, by how it looks: words and phrases that tell of a task (task_marks.h),
// source and names as source has them, LaTeX, operators and numerals, and whether a text to be
// worked on comes along, in which words count for less. Each mark has a weight; the task with the
// greatest sum wins, a general question where nothing tells of another. Only the first and the last
// KiB are looked at: an instruction stands before or after the text that it is about.
// `text`: any bytes, the last user message or the raw prompt. tests/bench/RESULTS.md has the time,
// README.md how often it is right, tests/data/task_prompts.jsonl on what.
Task EstimateTask(std::string_view text);

}  // namespace thinkwire::router
