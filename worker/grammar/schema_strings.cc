#include "worker/grammar/schema_strings.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/status.h"
#include "worker/grammar/regex.h"
#include "worker/grammar/string_formats.h"

namespace thinkwire::worker::grammar {
namespace {

struct Conditions {
  std::vector<Expr> exprs;
  std::string pointer;  // of the last one
};

// `pattern`s and `format`s.
absl::StatusOr<Conditions> PatternsOf(const Conjunction& conjunction, Expressions& expressions,
                                      Characters& characters) {
  Conditions conditions;
  const auto add = [&](const SchemaPart& part, std::string_view pattern,
                       bool searched) -> absl::Status {
    conditions.pointer = part.pointer;
    if (pattern.size() > kMaxPatternBytes) {
      return SchemaError(part.pointer, absl::StrCat("longer than ", kMaxPatternBytes, " bytes"));
    }
    auto expr = ParseRegex(pattern, searched, Spelling::kJson, expressions, characters);
    if (!expr.ok()) return Annotate(expr.status(), "json_schema: " + part.pointer);
    conditions.exprs.push_back(*expr);
    return absl::OkStatus();
  };
  for (const SchemaPart& part : conjunction.parts) {
    if (const SchemaJson* pattern = part.Find("pattern")) {
      RETURN_IF_ERROR(
          add(part.Under("pattern", *pattern), pattern->get_ref<const std::string&>(), true));
    }
    if (const SchemaJson* format = part.Find("format")) {
      const auto known = FormatPattern(format->get_ref<const std::string&>());
      RETURN_IF_ERROR(add(part.Under("format", *format), *known, false));
    }
  }
  return conditions;
}

}  // namespace

absl::StatusOr<Expr> StringInside(const Conjunction& conjunction, Expressions& expressions,
                                  Characters& characters) {
  const std::int32_t min = conjunction.Largest("minLength", 0);
  const std::int32_t max = conjunction.Smallest("maxLength", Expressions::kUnbounded);
  if (max < min) return kNothing;
  ASSIGN_OR_RETURN(Conditions conditions, PatternsOf(conjunction, expressions, characters));
  if (conditions.exprs.empty()) return expressions.Repeat(characters.AnyEscaped(), min, max);
  if (min > 0 || max < Expressions::kUnbounded) {
    conditions.exprs.push_back(expressions.Repeat(characters.Any(Spelling::kJson), min, max));
  }
  const bool several = conditions.exprs.size() > 1;
  const Expr inside = expressions.AllOf(std::move(conditions.exprs));
  if (several && inside != kNothing && !expressions.Settle(inside, kMaxStringStates)) {
    return SchemaError(conditions.pointer,
                       absl::StrCat("with the other conditions of this string it needs more than ",
                                    kMaxStringStates, " states"));
  }
  return inside;
}

}  // namespace thinkwire::worker::grammar
