#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "worker/grammar/schema_document.h"

namespace thinkwire::worker::grammar {

// What a JSON value can be, as bits. A number that is no integer is a kind of its own, so that
// `number` is both.
enum : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kFraction = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAllTypes = 127,
};
unsigned TypesOf(const SchemaJson& value);

// Schemas that must hold together, with `$ref` and `allOf` followed: what is left of each is its
// own keywords, and choices among schemas.
struct Conjunction {
  struct Choice {
    SchemaPart branches;  // the list of anyOf or oneOf
    bool exclusive = false;
    std::vector<const SchemaJson*> path;  // of schemas that led here without a value between
  };

  std::vector<SchemaPart> parts;                // each schema once
  absl::flat_hash_set<const SchemaJson*> held;  // those that Add has added
  std::vector<Choice> choices;
  bool nothing = false;  // one of them is `false`

  // Adds a schema and what it leads to. `path`: see Choice.
  // Fails: INVALID_ARGUMENT for a keyword that is not supported and for a schema that leads back to
  // itself.
  absl::Status Add(const SchemaPart& part, const std::vector<const SchemaJson*>& path,
                   SchemaDocument& document);

  // The types that all parts allow.
  unsigned types() const;
  // The values that all parts allow by `enum`, `const` and `type`; nullopt: they do not say.
  std::optional<std::vector<SchemaJson>> values() const;
  // The largest of a keyword's counts, or the smallest.
  std::int32_t Largest(std::string_view keyword, std::int32_t otherwise) const;
  std::int32_t Smallest(std::string_view keyword, std::int32_t otherwise) const;
  // A part that has the keyword, or null.
  const SchemaPart* PartWith(std::string_view keyword) const;

  // What must hold of a property, of further ones, of an array's element.
  std::vector<SchemaPart> Property(const std::string& name) const;
  std::vector<SchemaPart> FurtherProperties() const;
  std::vector<SchemaPart> Item(std::size_t index) const;
  // All names in `properties`, in order, then those in `required` that are not there.
  std::vector<std::string> PropertyNames() const;
  bool IsRequired(const std::string& name) const;
  std::size_t num_prefix_items() const;
};

// Whether no value can be accepted by both, as far as types, values and the values of required
// properties tell.
bool AreSurelyApart(const Conjunction& a, const Conjunction& b);

}  // namespace thinkwire::worker::grammar
