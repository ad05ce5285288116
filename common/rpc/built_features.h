#pragma once

#include <string>
#include <vector>

namespace thinkwire::rpc {

// What this build does of thinkwire.v1.ReasoningService, as GetServerInfo tells it: the contract's
// own names without those that CheckRequest (request_checks.h) refuses as not built. Whoever builds
// a field or a method takes its name out of the list in the .cc. Ascending. Threads: any.

std::vector<std::string> BuiltMethods();

// Paths of GenerateRequest's fields, those of messages in it included; after a field of an enum
// each value but the unspecified one, as "priority=PRIORITY_NORMAL".
std::vector<std::string> BuiltGenerateFields();

}  // namespace thinkwire::rpc
