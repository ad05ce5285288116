#include "router/client/chat_screen.h"

#include <unistd.h>

#include <cstdlib>

namespace thinkwire::router::client {
namespace {

constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kPlain = "\x1b[0m";
constexpr std::string_view kClearLine = "\r\x1b[K";

bool WantsColor() {
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  return term == nullptr || std::string_view(term) != "dumb";
}

void Write(std::FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
}

}  // namespace

Screen::Screen(std::FILE* out, std::FILE* err)
    : out_(out),
      err_(err),
      out_is_terminal_(isatty(fileno(out)) != 0),
      err_is_terminal_(isatty(fileno(err)) != 0),
      dims_(err_is_terminal_ && WantsColor()) {}

void Screen::Reasoning(std::string_view text) {
  if (text.empty()) return;
  Switch(Open::kReasoning);
  WriteErr(text, /*dim=*/true);
  line_is_begun_ = text.back() != '\n';
  std::fflush(err_);
}

void Screen::Answer(std::string_view text) {
  if (text.empty()) return;
  Switch(Open::kAnswer);
  Write(out_, out_is_terminal_ ? WithoutControls(text) : std::string(text));
  line_is_begun_ = text.back() != '\n';
  std::fflush(out_);
}

void Screen::Note(std::string_view line) {
  EndLine();
  WriteErr(line, /*dim=*/true);
  Write(err_, "\n");
  std::fflush(err_);
}

void Screen::Progress(std::string_view line) {
  if (!err_is_terminal_) return;
  if (open_ == Open::kProgress) Write(err_, kClearLine);
  Switch(Open::kProgress);
  WriteErr(line, /*dim=*/true);
  std::fflush(err_);
}

void Screen::EndLine() { Switch(Open::kNothing); }

void Screen::Switch(Open to) {
  if (open_ == to) return;
  switch (open_) {
    case Open::kNothing:
      break;
    case Open::kReasoning:
      if (line_is_begun_) Write(err_, "\n");
      if (to == Open::kAnswer) Write(err_, "\n");
      break;
    case Open::kAnswer:
      if (line_is_begun_) Write(out_, "\n");
      break;
    case Open::kProgress:
      Write(err_, kClearLine);
      break;
  }
  std::fflush(out_);
  std::fflush(err_);
  open_ = to;
}

void Screen::WriteErr(std::string_view text, bool dim) {
  if (dim && dims_) Write(err_, kDim);
  Write(err_, err_is_terminal_ ? WithoutControls(text) : std::string(text));
  if (dim && dims_) Write(err_, kPlain);
}

std::string WithoutControls(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c0 = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
    // U+0080 to U+009F are terminal controls too.
    const bool c1 =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) ++i;
    if (!c0 && !c1) clean += text[i];
  }
  return clean;
}

}  // namespace thinkwire::router::client
