#pragma once

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {

// Whether the request leaves it to its output's first tokens in which phase that begins, or may do
// so: a text or ids may, a chat only where it leaves the model's turn open and says nothing of
// thinking in it.
inline bool MayBeUndecided(const v1::GenerateRequest& request) {
  if (!request.prompt().has_chat()) return true;
  const v1::Chat& chat = request.prompt().chat();
  const bool asks = !chat.messages().empty() && chat.messages().rbegin()->role() == v1::ROLE_USER;
  return !asks || request.thinking().mode() == v1::THINKING_MODE_MODEL;
}

}  // namespace thinkwire::rpc
