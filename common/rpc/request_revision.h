#pragma once

#include <cstdint>
#include <optional>

#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::rpc {

// A worker refuses what it does not know, so that no limit is lost. In a rolling update a router
// may be newer than a worker of its; so workers tell in their status which revision of a request
// they know (WatchStatusResponse.request_revision).

// Fields that came later than the first workers' request, which has revision 0.
inline constexpr std::int32_t kTokenBytesRevision = 1;  // PhaseSampling.token_bytes

// What this build's worker knows.
inline constexpr std::int32_t kRequestRevision = kTokenBytesRevision;

// `request` for a worker of `revision`: without later fields that only add to what is told.
// nullopt: it may go as it is. Later fields that change what is generated stay, and are refused.
std::optional<v1::WorkerGenerateRequest> ForRevision(const v1::WorkerGenerateRequest& request,
                                                     std::int32_t revision);

}  // namespace thinkwire::rpc
