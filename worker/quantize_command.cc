#include "worker/quantize_command.h"

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/last_words.h"
#include "common/options.h"
#include "common/status.h"
#include "worker/model/checkpoint/requantize.h"

namespace thinkwire::worker {
namespace {

constexpr char kProgram[] = "thinkwire-worker quantize";
constexpr char kAwqGemm[] = "awq-gemm";

struct QuantizeConfig {
  std::string from;
  std::string to;
  std::string format = kAwqGemm;
  bool help = false;
};

std::vector<Option> Options(QuantizeConfig& config) {
  return {
      {"format", &config.format,
       "of the result: four bits a weight, or eight with a scale for each block of 128 x 128",
       OneOf("awq-gemm|fp8-block")},
      {"help", &config.help, "print this page"},
  };
}

absl::StatusOr<QuantizeConfig> Parse(std::span<const char* const> arguments) {
  QuantizeConfig config;
  ASSIGN_OR_RETURN(const auto rest, ParseOptions(arguments, Options(config)));
  if (config.help) return config;
  if (rest.size() != 2) {
    return absl::InvalidArgumentError("needs two folders: quantize IN OUT (see quantize --help)");
  }
  config.from = rest[0];
  config.to = rest[1];
  return config;
}

std::string Usage() {
  QuantizeConfig defaults;
  return absl::StrCat(
      "thinkwire-worker quantize: writes a checkpoint anew with smaller weights.\n\n"
      "  thinkwire-worker quantize IN OUT [--format FORMAT]\n\n"
      "IN is a folder with config.json and safetensors in BF16, F16 or F32; OUT, which must not\n"
      "be there, becomes one. Weights are rounded to the nearest, with a search for the best "
      "scale\n"
      "of each group and without calibration data: methods that use some lose less.\n\n",
      DescribeOptions(Options(defaults)));
}

}  // namespace

int RunQuantize(std::span<const char* const> arguments) {
  const auto config = Parse(arguments);
  if (!config.ok()) return EndWith(kProgram, kExitConfig, config.status());
  if (config->help) {
    std::fputs(Usage().c_str(), stdout);
    return 0;
  }
  const auto format =
      config->format == kAwqGemm ? model::RequantizedAs::kAwqGemm : model::RequantizedAs::kFp8Block;
  const auto loss = model::Requantize(config->from, config->to, format);
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
