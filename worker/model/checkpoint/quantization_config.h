#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/model/checkpoint/name_pattern.h"

namespace thinkwire::worker::model {

// How the tensors of a quantised matrix [N, K] lie in the files (grouped_tensor.h has the shapes).
enum class GroupLayout : std::uint8_t {
  kAwqGemm,         // AutoAWQ and its successors, version gemm
  kGptq,            // AutoGPTQ, GPTQModel
  kPackQuantized,   // compressed-tensors, whole numbers packed into words
  kIntQuantized,    // whole numbers of 8 bits as they are
  kFloatQuantized,  // numbers of e4m3
  kFp8Blocks,       // DeepSeek's: e4m3, a scale for each block of 128 x 128
};

// What GPTQ stores for a zero point.
enum class ZeroRule : std::uint8_t {
  kAsStored,
  kOneLess,      // the zero point less one, each by itself; the least is not to be told from the
                 // greatest, and readers disagree on it
  kWordOneLess,  // so, but subtracted from the packed word, with a borrow from one to the next
};

// How a matrix is quantised: w = bf16(float(q - z) * s), q of `bits` bits, s and z those of a group
// of columns. Where q is e4m3 there is no z.
struct GroupScheme {
  GroupLayout layout = GroupLayout::kAwqGemm;
  int bits = 4;                   // 4 or 8
  std::int64_t group_size = 128;  // columns, a multiple of 32; -1: all of a row
  std::int64_t scale_rows = 1;    // that share a scale; -1: all
  bool has_zeros = true;          // else z is 2^(bits - 1)
  ZeroRule zeros = ZeroRule::kAsStored;
  bool may_reorder = false;  // the columns of a group need not stand together

  bool operator==(const GroupScheme&) const = default;
};

// What config.json's quantization_config says of a checkpoint: which modules are quantised, and
// how. A value; immutable.
class QuantizationConfig {
 public:
  // `name` opens messages.
  // Fails: INVALID_ARGUMENT, naming key, value and what is supported: whatever is not honoured.
  static absl::StatusOr<QuantizationConfig> Read(const nlohmann::json& object,
                                                 const std::string& name);

  // quant_method: "awq", "gptq", "compressed-tensors", "fp8" or "bitsandbytes".
  const std::string& method() const { return method_; }

  // Whether the checkpoint was measured with keys and values in FP8 (kv_cache_scheme), with scales
  // that its files hold.
  bool has_fp8_kv_cache() const { return has_fp8_kv_cache_; }

  // How the Linear `module` ("model.layers.0.mlp.up_proj") is quantised; nothing: it is not.
  // Fails: INVALID_ARGUMENT where patterns disagree, or take too long.
  absl::StatusOr<std::optional<GroupScheme>> SchemeOf(absl::string_view module) const;

  // A rule of several: the first whose pattern matches decides; where none does, a module is not
  // quantised. Rules of one `rank` of which the file gives no order must agree.
  struct Rule {
    NamePattern pattern;
    std::optional<GroupScheme> scheme;
    int rank = 0;
  };

 private:
  QuantizationConfig(std::string name, std::string method, std::vector<Rule> rules,
                     bool has_fp8_kv_cache)
      : name_(std::move(name)),
        method_(std::move(method)),
        rules_(std::move(rules)),
        has_fp8_kv_cache_(has_fp8_kv_cache) {}

  std::string name_;
  std::string method_;
  std::vector<Rule> rules_;  // by ascending rank
  bool has_fp8_kv_cache_ = false;
};

}  // namespace thinkwire::worker::model
