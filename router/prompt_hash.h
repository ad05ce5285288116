#pragma once

#include <string>

#include "router/decision/prompt_marks.h"
#include "router/fleet/prefix_index.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// Of a raw prompt or a long message, the bytes between two places that may have a mark.
inline constexpr std::size_t kPieceBytes = 1024;
// Shorter beginnings have none: workers keep whole blocks, of some sixteen tokens.
inline constexpr std::size_t kMinMarkBytes = 64;

// The marks of a request's prompt: at the ends of its messages, and inside of them, of a text and
// of ids (four bytes each) after every kPieceBytes, so many as KeepsMark keeps. Each mark's hash is
// SipHash-2-4 under `key` of the one before and of what lies between: role, bytes, and the tools
// that the message calls. The first begins with the request's cache_salt, so that prompts have a
// mark in common only if a worker would find the same blocks for both (CacheSalts). No marks where
// the request has no prompt any more. `peer`: whose request it is. Costs one look at the prompt.
decision::PromptMarks MarkPrompt(const v1::GenerateRequest& request, const fleet::PrefixKey& key,
                                 std::string peer);

}  // namespace thinkwire::router
