#include "router/task_estimate.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/strings/ascii.h"
#include "common/strings.h"
#include "router/task_marks.h"
#include "router/variant_traits.h"

namespace thinkwire::router {
namespace {

constexpr std::size_t kShownBytes = 1024;  // of each end
// A text of as many bytes is something to be read.
constexpr std::size_t kLongBytes = 1200;
// Quoted, or after a colon, as many bytes are what a request is about, and not the request.
constexpr std::size_t kMaterialBytes = 60;
// Of a word's weight where it stands in that.
constexpr double kMaterialShare = 0.25;
// What a question is that nothing tells of.
constexpr double kGeneralScore = 0.9;

using Scores = PerTask<double>;

// A request, and what it brings along to be worked on.
struct Parts {
  std::string request;
  std::string material;
};

struct Mark {
  Task task;
  double weight;
};

template <class Take>
void ForEachWord(std::string_view words, Take take) {
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t end = std::min(words.find(", ", at), words.size());
    take(words.substr(at, end - at));
    at = end + 2;
  }
}

using WordTable = std::unordered_map<std::string_view, std::vector<Mark>>;

void AddWords(std::span<const TaskMarks> all, WordTable& table) {
  for (const TaskMarks& marks : all) {
    ForEachWord(marks.words, [&](std::string_view word) {
      table[word].push_back({marks.task, marks.weight});
    });
  }
}

const WordTable& Words() {
  static const WordTable& table = *[] {
    auto* made = new WordTable;
    AddWords(SpacedMarks(), *made);
    AddWords(UnspacedMarks(), *made);
    return made;
  }();
  return table;
}

// Of ASCII, or of a letter of two bytes in UTF-8: Chinese letters have three, and are no words.
bool IsWordByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return absl::ascii_isalnum(byte) || c == '+' || c == '-' || c == ';' || c == '\'' ||
         (byte >= 0x80 && byte < 0xE0);
}

// A mark counts once however often it stands there: a text about triangles is not less about code.
class Counted {
 public:
  Counted(double share, Scores& scores) : share_(share), scores_(scores) {}

  void Look(std::string_view words) {
    const auto found = Words().find(words);
    if (found == Words().end()) return;
    if (std::ranges::count(seen_, found->first.data()) > 0) return;
    seen_.push_back(found->first.data());
    for (const Mark& mark : found->second) scores_[mark.task] += share_ * mark.weight;
  }

 private:
  const double share_;
  Scores& scores_;
  std::vector<const char*> seen_;
};

// Looks at each word, and at as many in a row with spaces between as a phrase has.
void AddSpaced(std::string_view text, double share, Scores& scores) {
  constexpr int kMaxWords = 4;
  Counted counted(share, scores);
  std::size_t begins[kMaxWords] = {};  // of the last words in a row, the latest last
  int row = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!IsWordByte(text[at])) {
      if (text[at] != ' ') row = 0;
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && IsWordByte(text[end])) ++end;
    row = std::min(row + 1, kMaxWords);
    std::rotate(begins, begins + 1, begins + kMaxWords);
    begins[kMaxWords - 1] = at;
    for (int i = kMaxWords - row; i < kMaxWords; ++i) {
      counted.Look(text.substr(begins[i], end - begins[i]));
    }
    at = end;
  }
}

// Looks at what begins at each Chinese or Japanese letter.
void AddUnspaced(std::string_view text, double share, Scores& scores) {
  constexpr std::size_t kLetterBytes = 3;
  constexpr std::size_t kMaxLetters = 6;
  Counted counted(share, scores);
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (static_cast<unsigned char>(text[at]) < 0xE0) continue;
    for (std::size_t letters = 1; letters <= kMaxLetters; ++letters) {
      counted.Look(text.substr(at, letters * kLetterBytes));
    }
  }
}

std::size_t Count(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) {
    ++count;
  }
  return count;
}

template <class Take>
void ForEachLine(std::string_view text, Take take) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const absl::string_view line = absl::StripAsciiWhitespace(View(text.substr(at, end - at)));
    if (!line.empty()) take(std::string_view(line.data(), line.size()));
    at = end + 1;
  }
}

// Lines that end as statements do, begin as declarations, or are of a stack trace.
bool LooksLikeSource(std::string_view line) {
  constexpr std::string_view kBegins[] = {"def ",    "import ", "#include", "return ", "SELECT ",
                                          "at java", "at com.", "at org.",  "File \"", "$ "};
  if (std::ranges::any_of(kBegins, [&](auto begin) { return line.starts_with(begin); })) {
    return true;
  }
  return line.ends_with(';') || line.ends_with('{') || line.ends_with('}') ||
         line.ends_with("):") || line.find("Exception:") != line.npos ||
         line.find("Error:") != line.npos;
}

int CountSourceLines(std::string_view text) {
  int count = 0;
  ForEachLine(text, [&](std::string_view line) { count += LooksLikeSource(line) ? 1 : 0; });
  return count;
}

bool IsLetter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }

// Names as source has them: `x`, f(), a::b, a.b(, snake_case, camelCase.
int CountNames(std::string_view text) {
  auto count = static_cast<int>(Count(text, "`") / 2 + Count(text, "::") + Count(text, "()"));
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (!IsLetter(text[i - 1]) || !IsLetter(text[i + 1])) continue;
    const bool humps = absl::ascii_isupper(static_cast<unsigned char>(text[i])) &&
                       absl::ascii_islower(static_cast<unsigned char>(text[i - 1])) &&
                       absl::ascii_islower(static_cast<unsigned char>(text[i + 1]));
    if (text[i] == '_' || humps) ++count;
  }
  return count;
}

void AddSource(const Parts& parts, Scores& scores) {
  const int lines = CountSourceLines(parts.request);
  const int brought = CountSourceLines(parts.material);
  const bool fenced = parts.material.find("```") != std::string::npos ||
                      parts.request.find("```") != std::string::npos;
  scores[Task::kCode] += (fenced ? 2 : 0) + std::min(2.0, 0.75 * lines + 0.5 * brought) +
                         std::min(1.5, 0.5 * CountNames(parts.request)) +
                         std::min(0.5, 0.1 * CountNames(parts.material));
}

// An operator with a numeral on one side at least: "3x + 2 = 8".
int CountFormulas(std::string_view text) {
  int count = 0;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (std::string_view("+*/=^<>").find(text[i]) == std::string_view::npos) continue;
    const std::size_t left = text[i - 1] == ' ' && i > 1 ? i - 2 : i - 1;
    const std::size_t right = text[i + 1] == ' ' && i + 2 < text.size() ? i + 2 : i + 1;
    if (absl::ascii_isdigit(static_cast<unsigned char>(text[left])) ||
        absl::ascii_isdigit(static_cast<unsigned char>(text[right]))) {
      ++count;
    }
  }
  return count;
}

int CountNumerals(std::string_view text) {
  int count = 0;
  bool inside = false;
  for (const char c : text) {
    const bool digit = absl::ascii_isdigit(static_cast<unsigned char>(c));
    if (digit && !inside) ++count;
    inside = digit || (inside && (c == '.' || c == ',' || c == ':'));
  }
  return count;
}

void AddFormulas(std::string_view request, Scores& scores) {
  const std::size_t latex = Count(request, "\\frac") + Count(request, "\\sum") +
                            Count(request, "\\sqrt") + Count(request, "\\int") +
                            Count(request, "\\(") + Count(request, "\\boxed") +
                            Count(request, "$") / 2;
  scores[Task::kMath] += std::min(2.0, static_cast<double>(latex)) +
                         std::min(1.5, 0.5 * CountFormulas(request)) +
                         std::min(0.6, 0.15 * CountNumerals(request));
}

std::string Shown(std::string_view text) {
  std::string shown(text.substr(0, kShownBytes));
  if (text.size() > kShownBytes) {
    shown += '\n';
    shown += text.substr(std::max(kShownBytes, text.size() - kShownBytes));
  }
  return shown;
}

// Moves what stands between the first and the last of `open` and `close` to the material.
bool TakeQuoted(std::string_view open, std::string_view close, Parts& parts) {
  const std::size_t begin = parts.request.find(open);
  if (begin == std::string::npos) return false;
  const std::size_t end = parts.request.rfind(close);
  if (end == std::string::npos || end < begin + open.size() + kMaterialBytes) return false;
  parts.material = parts.request.substr(begin, end - begin);
  parts.request.erase(begin, end - begin);
  return true;
}

// Moves what follows a colon, if that is most of the text.
void TakeAfterColon(Parts& parts) {
  for (const std::string_view colon : {": ", "\uFF1A"}) {
    const std::size_t at = parts.request.find(colon);
    if (at == std::string::npos || at > parts.request.size() / 2) continue;
    if (parts.request.size() - at < 2 * kMaterialBytes) continue;
    parts.material = parts.request.substr(at);
    parts.request.erase(at);
    return;
  }
}

// One line: what is quoted in it. Several: the first is the request, and the last where it asks.
Parts Divide(const std::string& text) {
  std::vector<std::string_view> lines;
  ForEachLine(text, [&](std::string_view line) { lines.push_back(line); });
  Parts parts;
  if (lines.size() < 2) {
    parts.request = text;
    const bool quoted = TakeQuoted("\"", "\"", parts) || TakeQuoted("\u201C", "\u201D", parts) ||
                        TakeQuoted("\u201E", "\u201C", parts) ||
                        TakeQuoted("\u300C", "\u300D", parts) ||
                        TakeQuoted("\u00AB", "\u00BB", parts);
    if (!quoted) TakeAfterColon(parts);
    return parts;
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool outer = i == 0 || i + 1 == lines.size();
    (outer && !LooksLikeSource(lines[i]) ? parts.request : parts.material).append(lines[i]) += '\n';
  }
  return parts;
}

}  // namespace

Task EstimateTask(std::string_view text) {
  const Parts parts = Divide(Shown(text));
  Scores scores;
  scores[Task::kGeneral] = kGeneralScore;
  const std::string request = absl::AsciiStrToLower(View(parts.request));
  AddSpaced(request, 1, scores);
  AddUnspaced(request, 1, scores);
  AddSpaced(absl::AsciiStrToLower(View(parts.material)), kMaterialShare, scores);
  AddUnspaced(parts.material, kMaterialShare, scores);
  AddSource(parts, scores);
  AddFormulas(parts.request, scores);
  if (parts.material.size() >= kMaterialBytes) scores[Task::kExtraction] += 0.8;
  if (text.size() >= kLongBytes) scores[Task::kExtraction] += 0.5;
  const auto best = std::ranges::max_element(scores.values);
  return kAllTasks[best - scores.values.begin()];
}

}  // namespace thinkwire::router
