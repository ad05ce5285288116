#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "router/http/reply_form.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// What a client has asked for, in our own terms.
struct Asked {
  v1::GenerateRequest request{};
  ReplyForm form{};
  std::vector<std::string> ignored{};  // fields that nobody here knows, for a Warning
  std::int32_t context_tokens = 0;     // that the client wants there to be; 0: any will do
  // Of each message of the chat, the item of the client's list that it was; empty: in their order.
  std::vector<int> item_of{};
};

// The body of a POST to /v1/chat/completions, /v1/completions or /v1/responses. Each field is read
// by one line of a table (request_fields.cc); null is the same as not there. Limits on how much a
// list holds are the contract's (peer_limits.h); ranges are left to rpc::CheckRequest. Fails:
// INVALID_ARGUMENT that names the field: it is not of its type, is known and cannot be served, or
// is not known where the options are strict.
absl::StatusOr<Asked> ReadResponsesRequest(std::string_view body, const ReaderOptions& options);
absl::StatusOr<Asked> ReadChatRequest(std::string_view body, const ReaderOptions& options);
absl::StatusOr<Asked> ReadCompletionRequest(std::string_view body, const ReaderOptions& options);

// Likewise of a POST to Ollama's /api/chat, and to its /api/generate (ollama_fields.cc).
absl::StatusOr<Asked> ReadOllamaChat(std::string_view body, const ReaderOptions& options);
absl::StatusOr<Asked> ReadOllamaGenerate(std::string_view body, const ReaderOptions& options);

}  // namespace thinkwire::router::http
