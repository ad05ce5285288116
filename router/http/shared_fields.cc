#include "router/http/shared_fields.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/shown_text.h"

namespace thinkwire::router::http::read {
namespace {

constexpr char kAuto[] = "auto";

using rpc::InvalidField;

}  // namespace

absl::Status Ignore(const Json& /*value*/, const std::string& /*name*/, Reading& /*reading*/) {
  return absl::OkStatus();
}

absl::Status Unbuilt(const Json& value, const std::string& name, Reading& /*reading*/) {
  const bool nothing =
      (value.is_array() && value.empty()) || (value.is_boolean() && !value.get<bool>());
  return nothing ? absl::OkStatus() : rpc::UnimplementedField(name);
}

absl::Status TopK(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::int32_t number, ReadInt(value, name));
  reading.sampling().set_top_k(number == -1 ? 0 : number);  // as vLLM has it: all
  return absl::OkStatus();
}

absl::Status Model(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::string model, ReadText(value, name));
  if (model.empty()) return InvalidField(name, "must not be empty");
  if (!absl::EqualsIgnoreCase(model, kAuto)) reading.request().set_variant(model);
  return absl::OkStatus();
}

absl::Status Stream(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.asked.form.stream, ReadBool(value, name));
  return absl::OkStatus();
}

absl::Status Stop(const Json& value, const std::string& name, Reading& reading) {
  v1::PhaseSampling& sampling =
      reading.asked.form.chat ? *reading.request().mutable_answer_sampling() : reading.sampling();
  const std::vector<Json> texts =
      value.is_array() ? value.get<std::vector<Json>>() : std::vector<Json>{value};
  if (texts.size() > static_cast<std::size_t>(kMaxStopStrings)) {
    return InvalidField(
        name, absl::StrCat("may hold at most ", kMaxStopStrings, " texts, holds ", texts.size()));
  }
  for (const Json& text : texts) {
    if (!text.is_string()) return InvalidField(name, "must be a string or a list of strings");
    if (text.get_ref<const std::string&>().empty()) continue;
    sampling.add_stop_strings(text.get<std::string>());
  }
  return absl::OkStatus();
}

void AskForLogprobs(Reading& reading) {
  reading.asked.form.logprobs = true;
  reading.sampling().set_logprobs(true);
  reading.sampling().set_token_bytes(true);
}

absl::Status ChatLogprobs(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const bool wanted, ReadBool(value, name));
  if (wanted) AskForLogprobs(reading);
  return absl::OkStatus();
}

absl::Status TopLogprobs(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::int32_t number, ReadInt(value, name));
  reading.sampling().set_top_logprobs(number);
  return absl::OkStatus();
}

absl::Status Effort(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::string effort, ReadText(value, name));
  if (effort == "none") {
    reading.thinks = false;
    return absl::OkStatus();
  }
  const auto found = reading.options.efforts.find(effort);
  if (found == reading.options.efforts.end()) {
    std::string known = "none";
    for (const auto& [word, tokens] : reading.options.efforts) absl::StrAppend(&known, ", ", word);
    return InvalidField(name,
                        absl::StrCat("must be one of ", known, ", is \"", ShownText(effort), "\""));
  }
  reading.of_effort = found->second;
  return absl::OkStatus();
}

absl::Status Seed(const Json& value, const std::string& name, Reading& reading) {
  if (!value.is_number_integer()) {
    return InvalidField(name, "must be a whole number, of at most 64 bits");
  }
  reading.request().set_seed(value.get<std::uint64_t>());
  return absl::OkStatus();
}

absl::Status Budget(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::int32_t tokens, ReadInt(value, name));
  if (tokens < 0) return InvalidField(name, absl::StrCat("must not be negative, is ", tokens));
  reading.budget = tokens;
  return absl::OkStatus();
}

absl::Status User(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.salt_of_user, ReadText(value, name));
  return absl::OkStatus();
}

absl::Status CacheKey(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.salt_of_key, ReadText(value, name));
  return absl::OkStatus();
}

absl::Status Thinks(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.thinks, ReadBool(value, name));
  return absl::OkStatus();
}

}  // namespace thinkwire::router::http::read
