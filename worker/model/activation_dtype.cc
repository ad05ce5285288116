#include "worker/model/activation_dtype.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

absl::Status CheckActivationDtype(const std::string& activation_dtype, const ModelPlan& plan) {
  if (activation_dtype != kFp8Activations) return absl::OkStatus();
  const std::string encodings = EncodingsOf(plan);
  for (const absl::string_view encoding : absl::StrSplit(encodings, '+')) {
    if (encoding == NameOf(kernels::Encoding::kFp8)) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("activation_dtype is ", activation_dtype,
                                                 ", which is for weights in FP8; these are ",
                                                 encodings, ", which bfloat16 allows"));
}

}  // namespace thinkwire::worker::model
