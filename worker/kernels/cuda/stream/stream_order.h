#pragma once

#include <functional>
#include <memory>

#include "worker/kernels/cuda/stream/op_stream.h"
#include "worker/kernels/device.h"

// Points in the order of an OpStream, and recordings of it (device.h has the contracts). All live
// on the calling thread's GPU, which is the stream's; the stream outlives them.
namespace thinkwire::worker::kernels {

std::unique_ptr<Fence> MakeFence(OpStream& stream);
std::unique_ptr<Stamp> MakeStamp(OpStream& stream);

// Calls `ops` once; what they put on the stream is recorded and not run.
std::unique_ptr<Replay> Record(const std::function<void()>& ops, OpStream& stream);

}  // namespace thinkwire::worker::kernels
