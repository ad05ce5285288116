#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace thinkwire::worker::grammar {

using SchemaJson = nlohmann::ordered_json;  // members in the text's order, which answers keep

// A schema in a document, and its JSON Pointer (RFC 6901).
struct SchemaPart {
  const SchemaJson* schema = nullptr;
  std::string pointer;

  // The value of a keyword, or null.
  const SchemaJson* Find(std::string_view keyword) const;
  // What stands under a keyword, or further down.
  SchemaPart Under(std::string_view keyword, const SchemaJson& value) const;
};

// INVALID_ARGUMENT, with the pointer first.
absl::Status SchemaError(std::string_view pointer, std::string_view what);

// A JSON Schema's text: drafts 6 to 2020-12 as far as they agree on what json_schema.h knows.
class SchemaDocument {
 public:
  // Fails: INVALID_ARGUMENT for what is no JSON, or too large (peer_limits.h).
  static absl::StatusOr<SchemaDocument> Parse(std::string_view text);

  SchemaPart root() const { return {document_.get(), ""}; }

  // What a `$ref` at `from` names. Fails: INVALID_ARGUMENT where it is not in this document.
  absl::StatusOr<SchemaPart> Resolve(const SchemaPart& from) const;

  // Fails: INVALID_ARGUMENT, naming the pointer of a keyword that is not known or has a value that
  // it cannot have. Schemas below are not looked at.
  absl::Status Check(const SchemaPart& part);

 private:
  explicit SchemaDocument(std::unique_ptr<const SchemaJson> document)
      : document_(std::move(document)) {}

  std::unique_ptr<const SchemaJson> document_;
  absl::flat_hash_set<const SchemaJson*> checked_;
};

}  // namespace thinkwire::worker::grammar
