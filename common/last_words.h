#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace thinkwire {

// Exit codes of the servers; 70 (EX_SOFTWARE) wants the process to be started again.
inline constexpr int kExitFailure = 1;
inline constexpr int kExitSoftware = 70;
inline constexpr int kExitConfig = 78;  // EX_CONFIG: wrong options or files; the same would fail

// What is said of a process that ends, at most: whatever a message repeats from outside.
inline constexpr std::size_t kMaxLastWordsBytes = 1024;

// "program: message" as one printable line, cut where it is long, without the line's end.
std::string LastWords(std::string_view program, std::string_view message);

// Writes the last words to stderr. Returns `code`, for main to return.
int EndWith(std::string_view program, int code, const absl::Status& status);

// From now on what nothing else answers for (no memory is left, no thread can be started) ends the
// process with kExitSoftware and a line, where it would have aborted. The line names the limits of
// the process that may be why (ulimit -v, -u). `program` is not copied.
void SayWhatEnds(const char* program);

}  // namespace thinkwire
