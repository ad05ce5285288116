#include "worker/model/memory_text.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace thinkwire::worker::model {
namespace {

std::string Gigabytes(std::int64_t bytes) {
  return absl::StrFormat("%.1f GB", static_cast<double>(bytes) / 1e9);
}

}  // namespace

std::string MemoryText(const ModelInfo& info, const step::Limits& limits) {
  const std::string elsewhere =
      info.host_embedding_bytes == 0
          ? ""
          : absl::StrCat(" (the embedding's ", Gigabytes(info.host_embedding_bytes),
                         " are in host memory)");
  const std::string of =
      limits.context() < limits.max_model_len ? absl::StrCat(" of ", limits.max_model_len) : "";
  return absl::StrCat("weights ", Gigabytes(info.weight_bytes), elsewhere, ", KV cache ",
                      Gigabytes(info.kv_cache_bytes), ": ", limits.context(), of,
                      " tokens of context");
}

}  // namespace thinkwire::worker::model
