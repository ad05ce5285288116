#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function if `expression` (an absl::Status) is an error.
#define RETURN_IF_ERROR(expression)                           \
  do {                                                        \
    if (absl::Status status_ = (expression); !status_.ok()) { \
      return status_;                                         \
    }                                                         \
  } while (false)

#define THINKWIRE_CONCAT_INNER(a, b) a##b
#define THINKWIRE_CONCAT(a, b) THINKWIRE_CONCAT_INNER(a, b)

// ASSIGN_OR_RETURN(auto x, F()): x = *F(), or returns F()'s error from the enclosing function.
#define ASSIGN_OR_RETURN(lhs, expression) \
  THINKWIRE_ASSIGN_OR_RETURN(THINKWIRE_CONCAT(status_or_, __LINE__), lhs, expression)
#define THINKWIRE_ASSIGN_OR_RETURN(result, lhs, expression) \
  auto result = (expression);                               \
  if (!result.ok()) return std::move(result).status();      \
  lhs = *std::move(result)

namespace thinkwire {

// `status` with "prefix: " before its message; the code and payloads stay. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

}  // namespace thinkwire
