#pragma once

#include <optional>

#include "router/decision/policy.h"
#include "router/task.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// The contract's words for what a decision goes by.

// Nullopt: nothing said.
std::optional<Task> ReadTask(v1::Task task);
v1::Task MakeTask(Task task);

// What a policy may know of the request.
decision::Query MakeQuery(const v1::GenerateRequest& request);
decision::Query MakeQuery(const v1::CountTokensRequest& request);

}  // namespace thinkwire::router
