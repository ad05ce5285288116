#include "worker/grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/status.h"
#include "worker/grammar/integer_range.h"
#include "worker/grammar/json_text.h"
#include "worker/grammar/schema_conjunction.h"
#include "worker/grammar/schema_strings.h"

namespace thinkwire::worker::grammar {
namespace {

using Parts = std::vector<SchemaPart>;

// Some tenths of a second. What people write takes thousands: parts that hold together are few.
constexpr std::size_t kMaxLooks = std::size_t{1} << 18;

class Compiler {
 public:
  Compiler(SchemaDocument document, Expressions& expressions, Characters& characters)
      : document_(std::move(document)),
        expressions_(expressions),
        characters_(characters),
        json_(expressions, characters) {}

  absl::StatusOr<Expr> Compile() {
    ASSIGN_OR_RETURN(const Expr value, Value({document_.root()}));
    return expressions_.Concat(json_.Begin(), value);
  }

 private:
  // The values that all of `parts` accept: a rule of its own, so that schemas can lead back to it.
  absl::StatusOr<Expr> Value(const Parts& parts) {
    std::set<const SchemaJson*> key;
    for (const SchemaPart& part : parts) key.insert(part.schema);
    const auto known = rules_.find(key);
    if (known != rules_.end()) return known->second;
    RETURN_IF_ERROR(CheckSize(parts));
    const Expr rule = expressions_.NewRule();
    rules_.emplace(std::move(key), rule);
    Conjunction conjunction;
    for (const SchemaPart& part : parts) RETURN_IF_ERROR(conjunction.Add(part, {}, document_));
    ++depth_;
    ASSIGN_OR_RETURN(const Expr body, Branches(std::move(conjunction)));
    --depth_;
    expressions_.DefineRule(rule, body);
    return rule;
  }

  absl::Status CheckSize(const Parts& parts) const {
    const std::string pointer = parts.empty() ? "" : parts.front().pointer;
    if (depth_ >= kMaxSchemaDepth) {
      return SchemaError(
          pointer, absl::StrCat("schemas are in each other more than ", kMaxSchemaDepth, " deep"));
    }
    if (rules_.size() < kMaxSchemaRules && expressions_.num_nodes() < kMaxGrammarNodes) {
      return absl::OkStatus();
    }
    return SchemaError(pointer, "by here the schema has grown too large");
  }

  // The first choice is made in all ways, then the next, until there are none.
  absl::StatusOr<Expr> Branches(Conjunction conjunction) {
    if (conjunction.nothing) return kNothing;
    if (conjunction.choices.empty()) return Plain(conjunction);
    const Conjunction::Choice choice = conjunction.choices.back();
    conjunction.choices.pop_back();
    if (choice.exclusive) RETURN_IF_ERROR(CheckApart(choice));
    std::vector<Expr> ways;
    for (std::size_t i = 0; i < choice.branches.schema->size(); ++i) {
      if (++num_branches_ > kMaxSchemaBranches) {
        return SchemaError(choice.branches.pointer, absl::StrCat("more than ", kMaxSchemaBranches,
                                                                 " ways to choose branches"));
      }
      Conjunction way = conjunction;
      RETURN_IF_ERROR(way.Add(BranchOf(choice, i), choice.path, document_));
      ASSIGN_OR_RETURN(const Expr body, Branches(std::move(way)));
      ways.push_back(body);
    }
    return expressions_.AnyOf(std::move(ways));
  }

  static SchemaPart BranchOf(const Conjunction::Choice& choice, std::size_t i) {
    return choice.branches.Under(absl::StrCat(i), (*choice.branches.schema)[i]);
  }

  // REQUIRES: of oneOf. Fails: INVALID_ARGUMENT, two branches may hold together.
  absl::Status CheckApart(const Conjunction::Choice& choice) {
    if (!apart_.insert(choice.branches.schema).second) return absl::OkStatus();
    std::vector<Conjunction> branches(choice.branches.schema->size());
    for (std::size_t i = 0; i < branches.size(); ++i) {
      RETURN_IF_ERROR(branches[i].Add(BranchOf(choice, i), choice.path, document_));
      for (std::size_t j = 0; j < i; ++j) {
        if (AreSurelyApart(branches[i], branches[j])) continue;
        return SchemaError(choice.branches.pointer,
                           absl::StrCat("branches ", j, " and ", i,
                                        " may hold together, which cannot be decided: give them "
                                        "types or a required property with a const of its own, or "
                                        "use anyOf"));
      }
    }
    return absl::OkStatus();
  }

  // Each part is asked what it says of each property, element and value that the others list, in
  // each way to choose branches.
  absl::Status CountLooks(const Conjunction& conjunction) {
    std::size_t asked = conjunction.PropertyNames().size() + conjunction.num_prefix_items();
    for (const SchemaPart& part : conjunction.parts) {
      if (const SchemaJson* list = part.Find("enum")) asked += list->size();
    }
    num_looks_ += (asked + 1) * conjunction.parts.size();
    if (num_looks_ <= kMaxLooks) return absl::OkStatus();
    return SchemaError(conjunction.parts.front().pointer, "by here the schema has grown too large");
  }

  absl::StatusOr<Expr> Plain(const Conjunction& conjunction) {
    RETURN_IF_ERROR(CountLooks(conjunction));
    if (conjunction.values().has_value()) return Values(conjunction);
    const unsigned types = conjunction.types();
    std::vector<Expr> ways;
    if ((types & kNull) != 0) ways.push_back(expressions_.Literal("null"));
    if ((types & kBoolean) != 0) {
      ways.push_back(expressions_.Literal("true"));
      ways.push_back(expressions_.Literal("false"));
    }
    if ((types & (kInteger | kFraction)) != 0) {
      ASSIGN_OR_RETURN(ways.emplace_back(), Number(conjunction));
    }
    if ((types & kString) != 0) {
      ASSIGN_OR_RETURN(const Expr inside, StringInside(conjunction, expressions_, characters_));
      ways.push_back(json_.Quoted(inside));
    }
    if ((types & kArray) != 0) {
      ASSIGN_OR_RETURN(ways.emplace_back(), Array(conjunction));
    }
    if ((types & kObject) != 0) {
      ASSIGN_OR_RETURN(ways.emplace_back(), Object(conjunction));
    }
    return expressions_.AnyOf(std::move(ways));
  }

  // What `enum` and `const` list, as far as the other keywords accept it.
  absl::StatusOr<Expr> Values(const Conjunction& conjunction) {
    ASSIGN_OR_RETURN(const Expr inside, StringInside(conjunction, expressions_, characters_));
    std::vector<Expr> ways;
    const auto values = conjunction.values();
    for (const SchemaJson& value : *values) {
      ASSIGN_OR_RETURN(const bool accepted, Accepts(conjunction, value, inside));
      if (accepted) ways.push_back(json_.Value(value));
    }
    return expressions_.AnyOf(std::move(ways));
  }

  // `inside`: of a string that the keywords for strings accept.
  absl::StatusOr<bool> Accepts(const Conjunction& conjunction, const SchemaJson& value,
                               Expr inside) {
    if (value.is_structured()) {
      for (const char* keyword : {"properties", "required", "additionalProperties", "items",
                                  "prefixItems", "minItems", "maxItems"}) {
        const SchemaPart* part = conjunction.PartWith(keyword);
        if (part == nullptr) continue;
        return SchemaError(part->Under(keyword, *part->schema).pointer,
                           "beside enum or const of objects and arrays this is not supported");
      }
      return true;
    }
    if (value.is_number()) return IsWithin(conjunction, value.get<double>());
    if (!value.is_string()) return true;
    return expressions_.Matches(inside, Characters::JsonBytes(value.get_ref<const std::string&>()));
  }

  static bool IsWithin(const Conjunction& conjunction, double number) {
    return std::all_of(conjunction.parts.begin(), conjunction.parts.end(),
                       [number](const SchemaPart& part) {
                         const SchemaJson* minimum = part.Find("minimum");
                         const SchemaJson* maximum = part.Find("maximum");
                         return (minimum == nullptr || minimum->get<double>() <= number) &&
                                (maximum == nullptr || number <= maximum->get<double>());
                       });
  }

  absl::StatusOr<Expr> Number(const Conjunction& conjunction) {
    std::int64_t first = -kMaxAnswerInteger, last = kMaxAnswerInteger;
    const bool integer = (conjunction.types() & kFraction) == 0;
    for (const SchemaPart& part : conjunction.parts) {
      for (const char* keyword : {"minimum", "maximum"}) {
        const SchemaJson* bound = part.Find(keyword);
        if (bound == nullptr) continue;
        if (!integer) {
          return SchemaError(part.Under(keyword, *bound).pointer,
                             "this is supported for the type \"integer\" only");
        }
        if (*keyword == 'm' && keyword[1] == 'i') {
          first = std::max(first, Bound(*bound, true));
        } else {
          last = std::min(last, Bound(*bound, false));
        }
      }
    }
    return integer ? IntegerRange(first, last, expressions_) : json_.Number();
  }

  // A bound as an integer, one beyond all that answers can have where it is beyond them.
  static std::int64_t Bound(const SchemaJson& bound, bool up) {
    const double limit = static_cast<double>(kMaxAnswerInteger);
    const double number = bound.get<double>();
    if (number >= limit) return up ? kMaxAnswerInteger + 1 : kMaxAnswerInteger;
    if (number <= -limit) return up ? -kMaxAnswerInteger : -kMaxAnswerInteger - 1;
    if (bound.is_number_integer()) return bound.get<std::int64_t>();
    return static_cast<std::int64_t>(up ? std::ceil(number) : std::floor(number));
  }

  absl::StatusOr<Expr> Array(const Conjunction& conjunction) {
    const std::int32_t min = conjunction.Largest("minItems", 0);
    const std::int32_t max = conjunction.Smallest("maxItems", Expressions::kUnbounded);
    const auto num_prefix = static_cast<std::int32_t>(conjunction.num_prefix_items());
    if (max < min) return kNothing;
    ASSIGN_OR_RETURN(const Expr further, Value(conjunction.Item(num_prefix)));
    const std::int32_t rest = std::min(num_prefix, max);
    // What may come after so many elements, from the last named one back to the first.
    Expr after = expressions_.Repeat(json_.Then(further), std::max(min - rest, 0),
                                     max == Expressions::kUnbounded ? max : max - rest);
    Expr elements = kNothing;
    for (std::int32_t i = rest - 1; i >= 0; --i) {
      ASSIGN_OR_RETURN(const Expr item, Value(conjunction.Item(i)));
      elements = expressions_.Concat(item, after);
      after = json_.Then(elements);
      if (i >= min) after = expressions_.Optional(after);
    }
    if (rest == 0 && max > 0) {
      const std::int32_t more = max == Expressions::kUnbounded ? max : max - 1;
      elements = expressions_.Concat(
          further, expressions_.Repeat(json_.Then(further), std::max(min - 1, 0), more));
    }
    return json_.Array(elements, min == 0);
  }

  absl::StatusOr<Expr> Object(const Conjunction& conjunction) {
    const std::vector<std::string> names = conjunction.PropertyNames();
    ASSIGN_OR_RETURN(const Expr further, FurtherMember(conjunction, names));
    const Expr more = expressions_.Repeat(json_.Then(further), 0, Expressions::kUnbounded);
    // `first`: some member of those from here on; `after`: the same once there is one before.
    Expr first = expressions_.Concat(further, more), after = more;
    bool may_be_empty = true;
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      ASSIGN_OR_RETURN(const Expr value, Value(conjunction.Property(*name)));
      const Expr with = expressions_.Concat(json_.Member(json_.Key(*name), value), after);
      const bool required = conjunction.IsRequired(*name);
      first = expressions_.Name(required ? with : expressions_.AnyOf({with, first}));
      may_be_empty = may_be_empty && !required;
      after = json_.Then(first);
      if (may_be_empty) after = expressions_.Optional(after);
    }
    return json_.Object(first, may_be_empty);
  }

  absl::StatusOr<Expr> FurtherMember(const Conjunction& conjunction,
                                     const std::vector<std::string>& names) {
    const Parts parts = conjunction.FurtherProperties();
    const bool none = std::any_of(parts.begin(), parts.end(),
                                  [](const SchemaPart& part) { return *part.schema == false; });
    if (none) return kNothing;
    ASSIGN_OR_RETURN(const Expr value, Value(parts));
    std::vector<std::u32string> taken;
    for (const std::string& name : names) taken.push_back(ToCodePoints(name));
    const Expr key = json_.Quoted(characters_.OtherThan(std::move(taken)));
    return expressions_.Name(json_.Member(key, value));
  }

  SchemaDocument document_;
  Expressions& expressions_;
  Characters& characters_;
  const JsonText json_;
  std::map<std::set<const SchemaJson*>, Expr> rules_;
  std::set<const SchemaJson*> apart_;  // lists of branches that CheckApart has seen
  std::size_t num_branches_ = 0;
  std::size_t num_looks_ = 0;  // CountLooks
  int depth_ = 0;              // of values that are being compiled in each other
};

}  // namespace

absl::StatusOr<Expr> ParseJsonSchema(std::string_view text, Expressions& expressions,
                                     Characters& characters) {
  ASSIGN_OR_RETURN(SchemaDocument document, SchemaDocument::Parse(text));
  return Compiler(std::move(document), expressions, characters).Compile();
}

}  // namespace thinkwire::worker::grammar
