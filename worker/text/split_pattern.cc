#include "worker/text/split_pattern.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire::worker::text {
namespace {

struct Category {
  std::string_view name;
  std::string_view later;
};

// What Unicode 15 and 16 added to the general categories, to stand inside a class: Oniguruma's
// tables are of version 16, PCRE2 10.42's of version 14. None of the others (Z) grew.
constexpr std::array<Category, 6> kCategories = {{
    {"Z", ""},
    {"L", R"(\x{1c89}-\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3})"
          R"(\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85}\x{10ec2}-\x{10ec4}\x{1123f}-\x{11240})"
          R"(\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7}\x{113d1}\x{113d3})"
          R"(\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33}\x{1342f})"
          R"(\x{13441}-\x{13446}\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}\x{18cff})"
          R"(\x{1b132}\x{1b155}\x{1df25}-\x{1df2a}\x{1e030}-\x{1e06d}\x{1e4d0}-\x{1e4eb})"
          R"(\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})"},
    {"M", R"(\x{897}\x{cf3}\x{ece}\x{10d69}-\x{10d6d}\x{10efc}-\x{10eff}\x{11241})"
          R"(\x{113b8}-\x{113c0}\x{113c2}\x{113c5}\x{113c7}-\x{113ca}\x{113cc}-\x{113d0}\x{113d2})"
          R"(\x{113e1}-\x{113e2}\x{11f00}-\x{11f01}\x{11f03}\x{11f34}-\x{11f3a}\x{11f3e}-\x{11f42})"
          R"(\x{11f5a}\x{13440}\x{13447}-\x{13455}\x{1611e}-\x{1612f}\x{1e08f}\x{1e4ec}-\x{1e4ef})"
          R"(\x{1e5ee}-\x{1e5ef})"},
    {"N", R"(\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59})"
          R"(\x{16130}-\x{16139}\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1d2c0}-\x{1d2d3})"
          R"(\x{1e4f0}-\x{1e4f9}\x{1e5f1}-\x{1e5fa})"},
    {"P", R"(\x{1b4e}-\x{1b4f}\x{1b7f}\x{10d6e}\x{113d4}-\x{113d5}\x{113d7}-\x{113d8})"
          R"(\x{11b00}-\x{11b09}\x{11be1}\x{11f43}-\x{11f4f}\x{16d6d}-\x{16d6f}\x{1e5ff})"},
    {"S",
     R"(\x{2427}-\x{2429}\x{2ffc}-\x{2fff}\x{31e4}-\x{31e5}\x{31ef}\x{10d8e}-\x{10d8f})"
     R"(\x{1cc00}-\x{1ccef}\x{1cd00}-\x{1ceb3}\x{1f6dc}\x{1f774}-\x{1f776}\x{1f77b}-\x{1f77f})"
     R"(\x{1f7d9}\x{1f8b2}-\x{1f8bb}\x{1f8c0}-\x{1f8c1}\x{1fa75}-\x{1fa77}\x{1fa87}-\x{1fa89})"
     R"(\x{1fa8f}\x{1faad}-\x{1faaf}\x{1fabb}-\x{1fabf}\x{1fac6}\x{1face}-\x{1facf})"
     R"(\x{1fada}-\x{1fadc}\x{1fadf}\x{1fae8}-\x{1fae9}\x{1faf7}-\x{1faf8}\x{1fbcb}-\x{1fbef})"},
}};

std::optional<std::string_view> LaterCharacters(std::string_view category) {
  for (const Category& known : kCategories) {
    if (known.name == category) return known.later;
  }
  return std::nullopt;
}

// Unicode's White_Space, to stand inside a class.
constexpr std::string_view kWhiteSpace =
    R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// Rewrites one pattern, character by character.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : rest_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (!rest_.empty()) RETURN_IF_ERROR(Step());
    return std::move(out_);
  }

 private:
  absl::Status Step() {
    const char c = rest_.front();
    if (c == '\\') return Escape();
    if (in_class_) {
      if (c == '[') return Refused("[ inside a class");
      if (rest_.substr(0, 2) == "&&") return Refused("&& inside a class");
      if (c == ']') in_class_ = false;
      return Copy(1);
    }
    if (c == '^' || c == '$') return Refused("an anchor");
    // Possessive in PCRE2, a repeated repeat in Oniguruma's Ruby syntax.
    if (c == '{' && IsCount() && rest_.substr(rest_.find('}')).starts_with("}+")) {
      return Refused("{…}+");
    }
    if (c == '[') {
      in_class_ = true;
      // A ']' that comes first is a member; copied here so that it does not end the class.
      const std::size_t length = rest_.substr(1, 1) == "^" ? 2 : 1;
      return Copy(rest_.substr(length, 1) == "]" ? length + 1 : length);
    }
    return Copy(1);
  }

  absl::Status Escape() {
    if (rest_.size() < 2) return absl::InvalidArgumentError("it ends in a backslash");
    const char c = rest_[1];
    if (c == 's' || c == 'S') {
      if (in_class_ && c == 'S') return Refused("\\S inside a class");
      if (in_class_) {
        out_.append(kWhiteSpace);
      } else {
        out_ += absl::StrCat(c == 's' ? "[" : "[^", View(kWhiteSpace), "]");
      }
      rest_.remove_prefix(2);
      return absl::OkStatus();
    }
    constexpr std::string_view kSameInBoth = "rntd";
    const bool is_letter_or_digit =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (c == 'p' || c == 'P') return Property(c == 'P');
    if (is_letter_or_digit && kSameInBoth.find(c) == std::string_view::npos) {
      return Refused(rest_.substr(0, 2));
    }
    return Copy(2);
  }

  // At \p{…} or \P{…}.
  absl::Status Property(bool is_negated) {
    const std::size_t end = rest_.find('}');
    if (rest_.substr(2, 1) != "{" || end == std::string_view::npos) {
      return Refused("\\p without {…}");
    }
    const std::string_view name = rest_.substr(3, end - 3);
    const std::optional<std::string_view> later = LaterCharacters(name);
    if (!later.has_value()) return Refused(rest_.substr(0, end + 1));
    if (is_negated && in_class_) return Refused("\\P inside a class");
    const std::string members = absl::StrCat("\\p{", View(name), "}", View(*later));
    out_ += in_class_ ? members : absl::StrCat(is_negated ? "[^" : "[", members, "]");
    rest_.remove_prefix(end + 1);
    return absl::OkStatus();
  }

  // Whether the rest begins with {m}, {m,} or {m,n}, not with the braces of a \p{…}.
  bool IsCount() const {
    const std::size_t end = rest_.find_first_not_of("0123456789,", 1);
    return end > 1 && end != std::string_view::npos && rest_[end] == '}';
  }

  absl::Status Copy(std::size_t length) {
    out_.append(rest_.substr(0, length));
    rest_.remove_prefix(std::min(length, rest_.size()));
    return absl::OkStatus();
  }

  static absl::Status Refused(std::string_view what) {
    return absl::UnimplementedError(
        absl::StrCat(CutText(what, kMaxShownBytes), " is not supported"));
  }

  std::string_view rest_;
  std::string out_;
  bool in_class_ = false;
};

}  // namespace

absl::StatusOr<std::string> TranslateSplitPattern(std::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace thinkwire::worker::text
