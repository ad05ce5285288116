// The messages of a chat, as every client that we know writes them.

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "router/http/fields.h"

namespace thinkwire::router::http {
namespace {

using rpc::InvalidField;

absl::StatusOr<v1::Role> ReadRole(const Json& message, const std::string& path) {
  constexpr std::pair<std::string_view, v1::Role> kRoles[] = {
      {"system", v1::ROLE_SYSTEM},       {"developer", v1::ROLE_SYSTEM}, {"user", v1::ROLE_USER},
      {"assistant", v1::ROLE_ASSISTANT}, {"tool", v1::ROLE_TOOL},
  };
  const auto found = message.find("role");
  if (found == message.end() || !found->is_string()) {
    return InvalidField(path + ".role", "is required, and a string");
  }
  for (const auto& [name, role] : kRoles) {
    if (*found == name) return role;
  }
  return InvalidField(path + ".role",
                      absl::StrCat("must be system, developer, user, assistant or tool, is \"",
                                   ShownText(found->get<std::string>()), "\""));
}

// One part's text, on a line of its own after those before it.
absl::Status AddPart(const Json& part, const std::string& path, std::string* text) {
  RETURN_IF_ERROR(CheckObject(part, path));
  const Json type = part.value("type", Json());
  if (type != "text" && type != "input_text" && type != "output_text") {
    const std::string shown = type.is_string() ? ShownText(type.get<std::string>()) : "";
    return InvalidField(
        path + ".type",
        absl::StrCat("is \"", shown, "\": only text is understood here, neither images nor sound"));
  }
  const auto found = part.find("text");
  if (found == part.end() || !found->is_string()) {
    return InvalidField(path + ".text", "is required, and a string");
  }
  if (!text->empty()) text->push_back('\n');
  text->append(found->get_ref<const std::string&>());
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadContent(const Json& message, const std::string& path) {
  const auto found = message.find("content");
  if (found == message.end() || found->is_null()) return std::string();
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) {
    return InvalidField(path, "must be a string, a list of parts, or null");
  }
  std::string text;
  for (std::size_t i = 0; i < found->size(); ++i) {
    RETURN_IF_ERROR(AddPart((*found)[i], absl::StrCat(path, "[", i, "]"), &text));
  }
  return text;
}

absl::Status AddToolCall(const Json& call, const std::string& path, v1::ChatMessage* message) {
  RETURN_IF_ERROR(CheckObject(call, path));
  const Json function = call.value("function", Json());
  RETURN_IF_ERROR(CheckObject(function, path + ".function"));
  v1::ToolCall& added = *message->add_tool_calls();
  for (const auto& [key, set] : {std::pair{"name", &v1::ToolCall::mutable_name},
                                 std::pair{"arguments", &v1::ToolCall::mutable_arguments}}) {
    const Json value = function.value(key, Json(""));
    if (key == std::string_view("arguments") && value.is_object()) {  // as Ollama's clients have it
      *(added.*set)() = value.dump();
      continue;
    }
    ASSIGN_OR_RETURN(*(added.*set)(), ReadText(value, absl::StrCat(path, ".function.", key)));
  }
  return absl::OkStatus();
}

absl::Status AddToolCalls(const Json& message, const std::string& path, std::int64_t* num_calls,
                          v1::ChatMessage* added) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || calls->is_null()) return absl::OkStatus();
  if (!calls->is_array()) return InvalidField(path, "must be a list");
  *num_calls += static_cast<std::int64_t>(calls->size());
  if (*num_calls > kMaxElements) {
    return InvalidField(path, absl::StrCat("makes more than ", kMaxElements, " calls in all"));
  }
  for (std::size_t i = 0; i < calls->size(); ++i) {
    RETURN_IF_ERROR(AddToolCall((*calls)[i], absl::StrCat(path, "[", i, "]"), added));
  }
  return absl::OkStatus();
}

absl::Status CheckImages(const Json& message, const std::string& path) {
  const auto images = message.find("images");
  if (images == message.end() || images->is_null() || images->empty()) return absl::OkStatus();
  return InvalidField(path, "cannot be seen here: only text is understood");
}

}  // namespace

absl::Status ReadMessage(const Json& message, const std::string& path, std::int64_t* num_calls,
                         v1::ChatMessage* added) {
  RETURN_IF_ERROR(CheckObject(message, path));
  ASSIGN_OR_RETURN(const v1::Role role, ReadRole(message, path));
  added->set_role(role);
  ASSIGN_OR_RETURN(*added->mutable_content(), ReadContent(message, path + ".content"));
  RETURN_IF_ERROR(CheckImages(message, path + ".images"));
  return AddToolCalls(message, path + ".tool_calls", num_calls, added);
}

absl::Status ReadMessages(const Json& value, const std::string& name, Reading& reading) {
  if (!value.is_array()) return InvalidField(name, "must be a list");
  if (value.size() > static_cast<std::size_t>(kMaxMessages)) {
    return InvalidField(
        name, absl::StrCat("may hold at most ", kMaxMessages, " messages, holds ", value.size()));
  }
  v1::Chat& chat = *reading.request().mutable_prompt()->mutable_chat();
  std::int64_t num_calls = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    RETURN_IF_ERROR(
        ReadMessage(value[i], absl::StrCat(name, "[", i, "]"), &num_calls, chat.add_messages()));
  }
  return absl::OkStatus();
}

}  // namespace thinkwire::router::http
