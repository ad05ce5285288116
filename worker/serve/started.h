#pragma once

#include "thinkwire/v1/reasoning.pb.h"
#include "worker/serve/request_reader.h"

namespace thinkwire::worker::serve {

// What Started tells of a request that was read, but for what is known only when it starts.
v1::Started StartedOf(const RequestReader::Reading& reading, const ServedModel& model);

}  // namespace thinkwire::worker::serve
