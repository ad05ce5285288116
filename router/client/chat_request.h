#pragma once

#include <string>

#include "absl/status/status.h"
#include "router/client/chat_options.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::client {

// What a command line says for every question of it; the prompt holds the system message alone.
// REQUIRES: options that ParseChatArguments has passed.
v1::GenerateRequest MakeRequest(const ChatOptions& options);

// Appends a message to the turns of `chat`.
void AddMessage(v1::Role role, const std::string& content, v1::Chat& chat);

// A router's error as a sentence for who typed options: "--temperature must be …" where it says
// "answer_sampling.temperature must be …".
std::string InWordsOfOptions(const absl::Status& status);

}  // namespace thinkwire::router::client
