#pragma once

#include <string>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::client {

// {"event": NAME, fields of the event}, on one line without its end. All fields are there, under
// the contract's names.
std::string JsonLine(const std::string& name, const google::protobuf::Message& event);

// The same of a stream's event, under the client's name for it. Empty for an event that this build
// does not know.
std::string JsonLine(const v1::GenerateResponse& response);

}  // namespace thinkwire::router::client
