#pragma once

#include <string>

#include "absl/status/status.h"

namespace thinkwire::worker::model {

// Where --model is no folder but an id of Hugging Face's, as "deepseek-ai/DeepSeek-R1", the
// sentence that says how to download it. Fails: NOT_FOUND.
absl::Status CheckModelFolder(const std::string& model);

}  // namespace thinkwire::worker::model
