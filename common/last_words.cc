#include "common/last_words.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

const char* ending_program = "";  // of SayWhatEnds

// Needs no memory, and no lock that who failed may hold.
[[noreturn]] void End(const char* why) {
  std::array<char, kMaxLastWordsBytes> line{};
  const int length = std::snprintf(line.data(), line.size(), "%s: %.500s\n", ending_program, why);
  const ssize_t written = write(STDERR_FILENO, line.data(), static_cast<std::size_t>(length));
  static_cast<void>(written);  // nobody is left to tell
  std::_Exit(kExitSoftware);
}

[[noreturn]] void EndWithoutMemory() { End("out of memory"); }

[[noreturn]] void EndByException() {
  try {
    if (const std::exception_ptr exception = std::current_exception()) {
      std::rethrow_exception(exception);
    }
  } catch (const std::exception& exception) {
    End(exception.what());
  } catch (...) {
  }
  std::abort();  // as nothing can be said
}

}  // namespace

std::string LastWords(std::string_view program, std::string_view message) {
  return absl::StrCat(View(program), ": ", ShownLine(message, kMaxLastWordsBytes));
}

int EndWith(std::string_view program, int code, const absl::Status& status) {
  const absl::string_view message = status.message();
  std::fprintf(stderr, "%s\n", LastWords(program, {message.data(), message.size()}).c_str());
  return code;
}

void SayWhatEnds(const char* program) {
  ending_program = program;
  std::set_new_handler(EndWithoutMemory);
  std::set_terminate(EndByException);
}

}  // namespace thinkwire
