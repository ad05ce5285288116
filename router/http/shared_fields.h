#pragma once

#include <string>

#include "common/status.h"
#include "router/http/fields.h"

// Readers of fields that more than one API has (Field::read), under whatever name.
namespace thinkwire::router::http::read {

// A schema that any object fits.
inline constexpr char kAnyObject[] = R"({"type":"object"})";

// Setters of one value.
template <auto Set>
absl::Status Sampled(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const double number, ReadNumber(value, name));
  (reading.sampling().*Set)(static_cast<float>(number));
  return absl::OkStatus();
}

template <auto Set>
absl::Status Whole(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::int32_t number, ReadInt(value, name));
  (reading.request().*Set)(number);
  return absl::OkStatus();
}

absl::Status Ignore(const Json& value, const std::string& name, Reading& reading);
// What would change the answer if it were there, unless it asks for nothing.
absl::Status Unbuilt(const Json& value, const std::string& name, Reading& reading);
// The model's name; "auto" leaves the choice to the router.
absl::Status Model(const Json& value, const std::string& name, Reading& reading);
absl::Status Stream(const Json& value, const std::string& name, Reading& reading);
absl::Status TopK(const Json& value, const std::string& name, Reading& reading);
// Of the answer alone: a stop string in the reasoning would leave no answer. A raw prompt has no
// phase of its own.
absl::Status Stop(const Json& value, const std::string& name, Reading& reading);
// Of every token, with its bytes.
void AskForLogprobs(Reading& reading);
absl::Status ChatLogprobs(const Json& value, const std::string& name, Reading& reading);
absl::Status TopLogprobs(const Json& value, const std::string& name, Reading& reading);
// By a word: one of the operator's efforts, or "none".
absl::Status Effort(const Json& value, const std::string& name, Reading& reading);
// The most tokens to think.
absl::Status Budget(const Json& value, const std::string& name, Reading& reading);
absl::Status Seed(const Json& value, const std::string& name, Reading& reading);
// Who shares cached prompts: by who asks, or by a key, which goes first.
absl::Status User(const Json& value, const std::string& name, Reading& reading);
absl::Status CacheKey(const Json& value, const std::string& name, Reading& reading);
absl::Status Thinks(const Json& value, const std::string& name, Reading& reading);

}  // namespace thinkwire::router::http::read
