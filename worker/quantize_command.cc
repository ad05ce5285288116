#include "worker/quantize_command.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/gguf_header.h"
#include "common/last_words.h"
#include "common/options.h"
#include "common/status.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/requantize.h"
#include "worker/model/checkpoint/requantize_gguf.h"
#include "worker/text/gguf_tokenizer_writer.h"

namespace thinkwire::worker {
namespace {

constexpr char kProgram[] = "thinkwire-worker quantize";
constexpr char kAwqGemm[] = "awq-gemm";
constexpr char kFp8Block[] = "fp8-block";
constexpr char kGgufQ8[] = "gguf-q8_0";

struct QuantizeConfig {
  std::string from;
  std::string to;
  std::string format = kAwqGemm;
  std::int32_t group_size = 0;
  bool help = false;
};

std::vector<Option> Options(QuantizeConfig& config) {
  return {
      {"format", &config.format,
       "of the result: a folder of four bits a weight, or of eight with a scale for each block of "
       "128 x 128; or a GGUF file of Q4_K_M (about 4.85 bits a weight), or of Q8_0 (8.5)",
       OneOf("awq-gemm|fp8-block|gguf-q4_k_m|gguf-q8_0")},
      {"group_size", &config.group_size,
       "columns that share a scale in awq-gemm, 128, 64 or 32: fewer lose less and take more "
       "memory; "
       "0: 128, or fewer where a matrix has no whole groups of it",
       Between(0, 128)},
      {"help", &config.help, "print this page"},
  };
}

absl::StatusOr<QuantizeConfig> Parse(std::span<const char* const> arguments) {
  QuantizeConfig config;
  ASSIGN_OR_RETURN(const auto rest, ParseOptions(arguments, Options(config)));
  if (config.help) return config;
  if (rest.size() != 2) {
    return absl::InvalidArgumentError("needs two paths: quantize IN OUT (see quantize --help)");
  }
  config.from = rest[0];
  config.to = rest[1];
  return config;
}

std::string Usage() {
  QuantizeConfig defaults;
  return absl::StrCat(
      "thinkwire-worker quantize: writes a checkpoint anew with smaller weights.\n\n"
      "  thinkwire-worker quantize IN OUT [--format FORMAT] [--group_size COLUMNS]\n\n"
      "IN is a folder with config.json and safetensors in BF16, F16 or F32; OUT, which must not\n"
      "be there, becomes a folder, or with gguf- a file that holds tokenizer and all. Weights are\n"
      "rounded to the nearest, with a search for the best scale of each group and without\n"
      "calibration data: methods that use some lose less.\n\n",
      DescribeOptions(Options(defaults)));
}

// What the last folder of the path is called.
std::string NameOf(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.lexically_normal();
  return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
}

absl::StatusOr<model::RequantizedLoss> WriteGguf(const QuantizeConfig& config) {
  ASSIGN_OR_RETURN(const model::ModelConfig model, model::LoadModelConfig(config.from));
  GgufHeader header;
  header.Text("general.name", NameOf(config.from));
  RETURN_IF_ERROR(text::AddGgufTokenizer(
      config.from, {.num_rows = model.vocab_size, .end_ids = model.end_of_sequence_ids}, header));
  const auto type =
      config.format == kGgufQ8 ? model::GgufFileType::kQ8_0 : model::GgufFileType::kQ4_K_M;
  return model::RequantizeToGguf(config.from, config.to, type, std::move(header));
}

absl::StatusOr<model::RequantizedLoss> Quantize(const QuantizeConfig& config) {
  const bool is_awq = config.format == kAwqGemm;
  if (is_awq || config.format == kFp8Block) {
    return model::Requantize(
        config.from, config.to,
        is_awq ? model::RequantizedAs::kAwqGemm : model::RequantizedAs::kFp8Block,
        model::kMostFileBytes, config.group_size);
  }
  if (config.group_size == 0) return WriteGguf(config);
  return absl::InvalidArgumentError("group_size is for awq-gemm alone");
}

}  // namespace

int RunQuantize(std::span<const char* const> arguments) {
  const auto config = Parse(arguments);
  if (!config.ok()) return EndWith(kProgram, kExitConfig, config.status());
  if (config->help) {
    std::fputs(Usage().c_str(), stdout);
    return 0;
  }
  const auto loss = Quantize(*config);
  if (!loss.ok()) {
    const bool is_ours = absl::IsUnavailable(loss.status());
    return EndWith(kProgram, is_ours ? kExitFailure : kExitConfig, loss.status());
  }
  std::printf("%s: %lld matrices in %s, mean relative error %.4f\n", config->to.c_str(),
              static_cast<long long>(loss->matrices), config->format.c_str(),
              loss->mean_relative_error);
  return 0;
}

}  // namespace thinkwire::worker
