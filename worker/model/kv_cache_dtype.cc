#include "worker/model/kv_cache_dtype.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace thinkwire::worker::model {

absl::StatusOr<bool> KeepsFp8(const std::string& kv_cache_dtype, const ModelConfig& config) {
  const bool files_say = config.quantization && config.quantization->has_fp8_kv_cache();
  const bool fp8 = kv_cache_dtype == "fp8_e4m3" || (kv_cache_dtype == "auto" && files_say);
  if (!fp8 || !config.mla) return fp8;
  return absl::InvalidArgumentError(
      absl::StrCat("kv_cache_dtype is fp8_e4m3, which is for keys and values; allowed for the "
                   "latents of ",
                   config.architecture, ": bfloat16"));
}

}  // namespace thinkwire::worker::model
