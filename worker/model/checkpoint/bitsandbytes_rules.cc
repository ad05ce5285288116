#include <nlohmann/json.hpp>

#include "common/status.h"
#include "worker/model/checkpoint/quantization_rules.h"

// transformers' BitsAndBytesConfig, as it saves it. Which modules are in four bits their tensors
// say (nf4_tensor.h): llm_int8_skip_modules is what the writer left out of them.
namespace thinkwire::worker::model {

using nlohmann::json;

absl::StatusOr<QuantizationRules> ReadBitsandbytesRules(const ConfigReader& reader) {
  RETURN_IF_ERROR(reader.OnlyBool("load_in_8bit", false));
  const json* in_four_bits = reader.Find("load_in_4bit");
  if (in_four_bits == nullptr || *in_four_bits != true) {
    return reader.Refuse("load_in_4bit", "true");
  }
  const auto only_text = [&reader](const char* key, const char* supported) {
    const json* found = reader.Find(key);
    return found == nullptr || *found == supported ? absl::OkStatus()
                                                   : reader.Refuse(key, supported);
  };
  const json* type = reader.Find("bnb_4bit_quant_type");
  if (type == nullptr || *type != "nf4") return reader.Refuse("bnb_4bit_quant_type", "nf4");
  RETURN_IF_ERROR(only_text("bnb_4bit_quant_storage", "uint8"));
  RETURN_IF_ERROR(ReadTexts(reader, "llm_int8_skip_modules").status());
  return QuantizationRules();
}

}  // namespace thinkwire::worker::model
