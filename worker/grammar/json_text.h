#pragma once

#include <string>
#include <utility>
#include <vector>

#include "worker/grammar/characters.h"
#include "worker/grammar/expressions.h"
#include "worker/grammar/schema_document.h"

namespace thinkwire::worker::grammar {

// The pieces that JSON texts are made of (json_schema.h says which texts).
// Threads: one at a time. Borrows both.
class JsonText {
 public:
  JsonText(Expressions& expressions, Characters& characters);

  Expr Begin() const { return begin_; }
  Expr Quoted(Expr inside) const { return expressions_.Concat({quote_, inside, quote_}); }
  Expr Number() const { return number_; }
  // This value, written as JSON.
  Expr Value(const SchemaJson& value) const;

  // A member whose name's text is `key` with its quotes.
  Expr Member(Expr key, Expr value) const;
  Expr Key(const std::string& name) const;
  // A comma, and `next`.
  Expr Then(Expr next) const { return expressions_.Concat({comma_, space_, next}); }
  // Brackets around elements that are already joined by commas, or around none if `may_be_empty`.
  Expr Array(Expr elements, bool may_be_empty) const;
  Expr Object(Expr members, bool may_be_empty) const;

 private:
  Expr Enclosed(char opener, Expr inside, bool may_be_empty, char closer) const;
  Expr Joined(const std::vector<Expr>& elements) const;

  Expressions& expressions_;
  Characters& characters_;
  Expr quote_, comma_, space_, colon_, begin_, number_;
};

}  // namespace thinkwire::worker::grammar
