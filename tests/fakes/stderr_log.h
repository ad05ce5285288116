#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

namespace thinkwire {

// Takes what is written to stderr, from its making to its end. Unlike gtest's capture it can be
// read meanwhile without a moment in which a line goes elsewhere.
class StderrLog {
 public:
  StderrLog() : saved_(dup(STDERR_FILENO)), file_(std::tmpfile()) {
    dup2(fileno(file_), STDERR_FILENO);
  }
  ~StderrLog() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    std::fclose(file_);
  }
  StderrLog(const StderrLog&) = delete;
  StderrLog& operator=(const StderrLog&) = delete;

  // All that it took so far.
  std::string text() const {
    std::string text;
    std::array<char, 4096> part{};
    for (;;) {
      const ssize_t bytes =
          pread(fileno(file_), part.data(), part.size(), static_cast<off_t>(text.size()));
      if (bytes <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(bytes));
    }
  }
  bool Has(const std::string& part) const { return text().find(part) != std::string::npos; }

 private:
  const int saved_;
  std::FILE* const file_;
};

}  // namespace thinkwire
