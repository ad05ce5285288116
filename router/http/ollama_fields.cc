// The fields of Ollama's requests, a line each.

#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "common/strings.h"
#include "router/http/fields.h"
#include "router/http/ollama_models.h"
#include "router/http/raw_json.h"
#include "router/http/shared_fields.h"

namespace thinkwire::router::http {
namespace {

using read::Effort;
using read::Ignore;
using read::Sampled;
using read::Thinks;
using read::Unbuilt;
using rpc::InvalidField;

template <auto Member>
absl::Status Text(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.*Member, ReadText(value, name));
  return absl::OkStatus();
}

absl::Status Model(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::string model, ReadText(value, name));
  return read::Model(WithoutLatest(model), name, reading);
}

bool IsEmptyText(const Json& value) {
  const auto* const text = value.get_ptr<const Json::string_t*>();
  return text != nullptr && text->empty();
}

// Texts that clients send empty where they mean none.
absl::Status UnbuiltText(const Json& value, const std::string& name, Reading& reading) {
  return IsEmptyText(value) ? absl::OkStatus() : Unbuilt(value, name, reading);
}

absl::Status Think(const Json& value, const std::string& name, Reading& reading) {
  return value.is_boolean() ? Thinks(value, name, reading) : Effort(value, name, reading);
}

// The schema's own text, as answers keep the order of its properties.
absl::Status Format(const Json& value, const std::string& name, Reading& reading) {
  if (IsEmptyText(value)) return absl::OkStatus();
  v1::AnswerFormat& format = *reading.request().mutable_answer_format();
  if (value == "json") {
    format.set_json_schema(read::kAnyObject);
    return absl::OkStatus();
  }
  if (!value.is_object()) return InvalidField(name, "must be \"json\" or a JSON Schema");
  format.set_json_schema(std::string(RawMember(reading.body, {"format"})));
  return absl::OkStatus();
}

absl::Status Raw(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.raw, ReadBool(value, name));
  return absl::OkStatus();
}

// Below zero: as many as the context has room for, which more of them are cut to too.
absl::Status NumPredict(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::int32_t tokens, ReadInt(value, name));
  if (tokens < 0) return absl::OkStatus();
  reading.request().set_max_tokens(tokens);
  reading.request().set_clamp_max_tokens(true);
  return absl::OkStatus();
}

// Below zero: any.
absl::Status Seed(const Json& value, const std::string& name, Reading& reading) {
  if (!value.is_number_integer()) {
    return InvalidField(name, "must be a whole number, of at most 64 bits");
  }
  if (value.is_number_unsigned()) reading.request().set_seed(value.get<std::uint64_t>());
  return absl::OkStatus();
}

absl::Status NumCtx(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.asked.context_tokens, ReadInt(value, name));
  if (reading.asked.context_tokens > 0) return absl::OkStatus();
  return InvalidField(name, absl::StrCat("must be at least 1, is ", reading.asked.context_tokens));
}

// How its runner loads a model is no business of who asks here.
constexpr Field kOptions[] = {
    {"temperature", Sampled<&v1::PhaseSampling::set_temperature>},
    {"top_p", Sampled<&v1::PhaseSampling::set_top_p>},
    {"min_p", Sampled<&v1::PhaseSampling::set_min_p>},
    {"top_k", read::TopK},
    {"repeat_penalty", Sampled<&v1::PhaseSampling::set_repetition_penalty>},
    {"presence_penalty", Sampled<&v1::PhaseSampling::set_presence_penalty>},
    {"frequency_penalty", Sampled<&v1::PhaseSampling::set_frequency_penalty>},
    {"num_predict", NumPredict},
    {"num_ctx", NumCtx},
    {"seed", Seed},
    {"stop", read::Stop},
    {"num_batch", Ignore},
    {"num_gpu", Ignore},
    {"main_gpu", Ignore},
    {"num_thread", Ignore},
    {"use_mmap", Ignore},
    {"use_mlock", Ignore},
    {"low_vram", Ignore},
    {"numa", Ignore},
};

absl::Status Options(const Json& value, const std::string& name, Reading& reading) {
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kOptions, reading);
}

constexpr Field kCommonFields[] = {
    {"model", Model},
    {"stream", read::Stream},
    {"think", Think},
    {"format", Format},
    {"options", Options},
    {"logprobs", read::ChatLogprobs},
    {"top_logprobs", read::TopLogprobs},
    {"_debug_render_only", Unbuilt},
};

constexpr Field kChatFields[] = {
    {"messages", ReadMessages},
    {"tools", Unbuilt},
};

constexpr Field kGenerateFields[] = {
    {"prompt", Text<&Reading::prompt>},
    {"system", Text<&Reading::system>},
    {"raw", Raw},
    {"suffix", UnbuiltText},
    {"template", UnbuiltText},
    {"context", Unbuilt},
    {"images", Unbuilt},
};

}  // namespace

std::span<const Field> OllamaCommonFields() { return kCommonFields; }
std::span<const Field> OllamaChatFields() { return kChatFields; }
std::span<const Field> OllamaGenerateFields() { return kGenerateFields; }

}  // namespace thinkwire::router::http
