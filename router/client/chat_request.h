#pragma once

#include "router/client/chat_options.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::client {

// What a command line says for every question of it; the prompt holds the system message alone.
// REQUIRES: options that ParseChatArguments has passed.
v1::GenerateRequest MakeRequest(const ChatOptions& options);

}  // namespace thinkwire::router::client
