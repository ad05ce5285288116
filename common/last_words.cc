#include "common/last_words.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

const char* ending_program = "";  // of SayWhatEnds

// A line in pieces. Needs no memory, and no lock that who failed may hold.
class Line {
 public:
  void Add(const char* text) { Add("%s", text); }
  template <class... Values>
  requires(sizeof...(Values) > 0) void Add(const char* format, Values... values) {
    const int length = std::snprintf(text_.data() + size_, text_.size() - size_, format, values...);
    size_ = std::min(text_.size() - 1, size_ + static_cast<std::size_t>(std::max(0, length)));
  }
  void Write() {
    const ssize_t written = write(STDERR_FILENO, text_.data(), size_);
    static_cast<void>(written);  // nobody is left to tell
  }

 private:
  std::array<char, kMaxLastWordsBytes> text_{};
  std::size_t size_ = 0;
};

// What of the process's limits may be why there was no more of something.
void AddAddressLimit(Line& line) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  line.Add(
      "; ulimit -v allows %llu KiB of addresses, and threads reserve more than they use: better "
      "limit memory by a container or a cgroup",
      static_cast<unsigned long long>(limit.rlim_cur) / 1024);
}
void AddThreadLimit(Line& line) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NPROC, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  line.Add("; ulimit -u allows this user %llu threads",
           static_cast<unsigned long long>(limit.rlim_cur));
}

[[noreturn]] void End(Line line) {
  line.Add("\n");
  line.Write();
  std::_Exit(kExitSoftware);
}

Line Words(const char* why) {
  Line line;
  line.Add("%s: %.500s", ending_program, why);
  return line;
}

[[noreturn]] void EndWithoutMemory() {
  Line line = Words("out of memory");
  AddAddressLimit(line);
  End(line);
}

[[noreturn]] void EndWithoutThread(const char* why) {
  Line line = Words("no thread can be started");
  line.Add(": %.100s", why);
  AddAddressLimit(line);
  AddThreadLimit(line);
  End(line);
}

[[noreturn]] void EndByException() {
  try {
    if (const std::exception_ptr exception = std::current_exception()) {
      std::rethrow_exception(exception);
    }
  } catch (const std::bad_alloc&) {
    EndWithoutMemory();
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) EndWithoutThread(error.what());
    End(Words(error.what()));
  } catch (const std::exception& exception) {
    End(Words(exception.what()));
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
