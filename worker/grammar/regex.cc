#include "worker/grammar/regex.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "worker/grammar/character_class.h"

namespace thinkwire::worker::grammar {
namespace {

// An expression, and how many characters it has when repetitions are written out.
struct Sized {
  Expr expr = kEmptyText;
  std::int64_t positions = 0;
};

struct Bounds {
  std::int32_t min = 1;
  std::int32_t max = 1;
};

class Parser {
 public:
  Parser(std::string_view pattern, bool searched, Spelling spelling, Expressions& expressions,
         Characters& characters)
      : reader_(pattern),
        searched_(searched),
        spelling_(spelling),
        expressions_(expressions),
        characters_(characters) {}

  absl::StatusOr<Expr> Parse() {
    ASSIGN_OR_RETURN(const Sized whole, Alternatives(0));
    if (!reader_.at_end()) return reader_.Error("a ) without its (");
    return whole.expr;
  }

 private:
  Expr AnyText() {
    return expressions_.Repeat(characters_.Any(spelling_), 0, Expressions::kUnbounded);
  }

  absl::Status CheckPositions(std::int64_t positions) const {
    if (positions <= kMaxRegexPositions) return absl::OkStatus();
    return reader_.Error(
        absl::StrCat("more than ", kMaxRegexPositions, " characters with repetitions written out"));
  }

  absl::StatusOr<Sized> Alternatives(int depth) {
    if (depth > kMaxRegexDepth) {
      return reader_.Error(absl::StrCat("groups are more than ", kMaxRegexDepth, " deep"));
    }
    Sized sum;
    std::vector<Expr> ways;
    do {
      ASSIGN_OR_RETURN(const Sized way, depth == 0 ? Anchored() : Sequence(depth));
      ways.push_back(way.expr);
      sum.positions += way.positions;
      RETURN_IF_ERROR(CheckPositions(sum.positions));
    } while (reader_.Take("|"));
    sum.expr = expressions_.AnyOf(std::move(ways));
    return sum;
  }

  // An alternative of the whole, which may say where it begins and ends.
  absl::StatusOr<Sized> Anchored() {
    const bool begins = reader_.Take("^");
    ASSIGN_OR_RETURN(Sized way, Sequence(0));
    const bool ends = reader_.Take("$");
    if (ends && !reader_.at_end() && reader_.Peek() != '|') {
      return reader_.Error("$ stands at the end only");
    }
    if (searched_ && !begins) way.expr = expressions_.Concat(AnyText(), way.expr);
    if (searched_ && !ends) way.expr = expressions_.Concat(way.expr, AnyText());
    return way;
  }

  absl::StatusOr<Sized> Sequence(int depth) {
    std::vector<Expr> parts;
    Sized sequence;
    while (!reader_.at_end() && reader_.Peek() != '|' && reader_.Peek() != ')' &&
           !(depth == 0 && reader_.Peek() == '$')) {
      ASSIGN_OR_RETURN(const Sized part, Repeated(depth));
      parts.push_back(part.expr);
      sequence.positions += part.positions;
      RETURN_IF_ERROR(CheckPositions(sequence.positions));
    }
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      sequence.expr = expressions_.Concat(*part, sequence.expr);
    }
    return sequence;
  }

  absl::StatusOr<Sized> Repeated(int depth) {
    ASSIGN_OR_RETURN(Sized atom, Atom(depth));
    ASSIGN_OR_RETURN(const std::optional<Bounds> bounds, Quantifier());
    if (!bounds.has_value()) return atom;
    if (reader_.Take("+")) return reader_.Error("possessive quantifiers are not supported");
    reader_.Take("?");
    ASSIGN_OR_RETURN(const std::optional<Bounds> second, Quantifier());
    if (second.has_value()) return reader_.Error("two quantifiers in a row");
    atom.expr = expressions_.Repeat(atom.expr, bounds->min, bounds->max);
    const std::int32_t times = bounds->max == Expressions::kUnbounded ? bounds->min : bounds->max;
    atom.positions *= std::max(times, 1);
    return atom;
  }

  absl::StatusOr<std::optional<Bounds>> Quantifier() {
    constexpr std::int32_t kUnbounded = Expressions::kUnbounded;
    if (reader_.Take("*")) return Bounds{0, kUnbounded};
    if (reader_.Take("+")) return Bounds{1, kUnbounded};
    if (reader_.Take("?")) return Bounds{0, 1};
    if (!reader_.Take("{")) return std::nullopt;
    ASSIGN_OR_RETURN(const std::int32_t min, Count());
    Bounds bounds{min, min};
    if (reader_.Take(",")) {
      bounds.max = kUnbounded;
      if (!reader_.at_end() && reader_.Peek() != '}') {
        ASSIGN_OR_RETURN(bounds.max, Count());
      }
    }
    if (!reader_.Take("}")) return reader_.Error("{ needs a count: {m}, {m,} or {m,n}");
    if (bounds.max < bounds.min) return reader_.Error("{m,n} with m above n");
    return bounds;
  }

  absl::StatusOr<std::int32_t> Count() {
    std::int64_t count = -1;
    while (!reader_.at_end() && reader_.Peek() >= '0' && reader_.Peek() <= '9') {
      count = std::max<std::int64_t>(count, 0) * 10 + (reader_.Peek() - '0');
      reader_.Skip();
      if (count > kMaxRegexPositions) {
        return reader_.Error(absl::StrCat("a count above ", kMaxRegexPositions));
      }
    }
    if (count < 0) return reader_.Error("{ needs a count: {m}, {m,} or {m,n}");
    return static_cast<std::int32_t>(count);
  }

  absl::StatusOr<Sized> Atom(int depth) {
    if (reader_.Take("(")) return Group(depth);
    RETURN_IF_ERROR(CheckAtom());
    ASSIGN_OR_RETURN(const CodePoints points, ReadCharacters(&reader_));
    return Sized{characters_.OneOf(points, spelling_), 1};
  }

  absl::Status CheckAtom() {
    switch (reader_.Peek()) {
      case '*':
      case '+':
      case '?':
        return reader_.Error("a quantifier with nothing before it");
      case '{':
        return reader_.Error("a { that is no quantifier: write \\{");
      case '^':
      case '$':
        return reader_.Error(
            "^ and $ stand where the whole, or an alternative of it, begins and ends");
      default:
        return absl::OkStatus();
    }
  }

  absl::StatusOr<Sized> Group(int depth) {
    if (reader_.Take("?")) RETURN_IF_ERROR(GroupKind());
    ASSIGN_OR_RETURN(const Sized inner, Alternatives(depth + 1));
    if (!reader_.Take(")")) return reader_.Error("a ( without its )");
    return inner;
  }

  absl::Status GroupKind() {
    if (reader_.Take(":")) return absl::OkStatus();
    if (reader_.Take("=") || reader_.Take("!") || reader_.Take("<=") || reader_.Take("<!")) {
      return reader_.Error("lookaround is not supported");
    }
    if (!reader_.Take("<")) return reader_.Error("flags in a group are not supported");
    while (!reader_.at_end() && reader_.Peek() != '>') reader_.Skip();
    if (!reader_.Take(">")) return reader_.Error("a group's name without its >");
    return absl::OkStatus();
  }

  PatternReader reader_;
  const bool searched_;
  const Spelling spelling_;
  Expressions& expressions_;
  Characters& characters_;
};

}  // namespace

absl::StatusOr<Expr> ParseRegex(std::string_view pattern, bool searched, Spelling spelling,
                                Expressions& expressions, Characters& characters) {
  if (!IsValidUtf8(pattern)) return absl::InvalidArgumentError("the pattern is not UTF-8");
  return Parser(pattern, searched, spelling, expressions, characters).Parse();
}

}  // namespace thinkwire::worker::grammar
