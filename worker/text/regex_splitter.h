#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace thinkwire::worker::text {

// The splitter for any patterns, by PCRE2: a match and the text between two matches are both
// pieces; later patterns work on the pieces of the ones before.
// Threads: immutable; Split may be called from any thread at once.
class RegexSplitter {
 public:
  // Fails: INVALID_ARGUMENT for a pattern that does not compile, UNIMPLEMENTED for a construct that
  // would mean something else here. Each pattern is a depth of calls in Split.
  static absl::StatusOr<RegexSplitter> Create(const std::vector<std::string>& patterns);

  RegexSplitter(RegexSplitter&&) = default;
  RegexSplitter& operator=(RegexSplitter&&) = default;

  // Hands the pieces of `utf8` (valid) to `sink`, in order; joined they are `utf8`, none is empty.
  // A pattern that exceeds kMatchLimit somewhere cuts no further there (those of the family cannot:
  // they need time linear in the text).
  void Split(std::string_view utf8, absl::FunctionRef<void(std::string_view)> sink) const;

 private:
  struct CodeDeleter {
    void operator()(pcre2_real_code_8* code) const;
  };
  struct ContextDeleter {
    void operator()(pcre2_real_match_context_8* context) const;
  };
  using Code = std::unique_ptr<pcre2_real_code_8, CodeDeleter>;
  using Context = std::unique_ptr<pcre2_real_match_context_8, ContextDeleter>;

  RegexSplitter() = default;
  void SplitFrom(std::size_t pattern, std::string_view utf8, pcre2_real_match_data_8* match,
                 absl::FunctionRef<void(std::string_view)> sink) const;

  // Constant after construction.
  std::vector<Code> codes_;
  Context context_;
};

}  // namespace thinkwire::worker::text
