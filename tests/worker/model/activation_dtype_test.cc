#include "worker/model/activation_dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "worker/model/load_model.h"

// What decides whether products round their inputs to FP8: the option, and weights that are FP8.
namespace thinkwire::worker::model {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kTinyModel[] = "deploy/models/tiny-r1";

ModelOptions Options(const std::string& quantization, const std::string& activation_dtype) {
  ModelOptions options = OptionsFor(kTinyModel);
  options.quantization = quantization;
  options.activation_dtype = activation_dtype;
  return options;
}

struct Loaded {
  std::string fingerprint;
  std::vector<Drawn> drawn;
};

Loaded LoadAndDraw(const ModelOptions& options, std::size_t chunk = 1000) {
  const auto model = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  StepDriver driver(**model);
  driver.Begin(0, Greedy());
  return {(*model)->info().fingerprint,
          driver.Generate(0, {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 7, 77}, 8, chunk, 1)};
}

TEST(ActivationDtypeTest, Fp8IsForWeightsInFp8) {
  const ModelOptions options = Options("auto", kFp8Activations);
  EXPECT_EQ(LoadModel(options, LocalPlans(options)).status().message(),
            "activation_dtype is fp8_e4m3, which is for weights in FP8; these are bf16, which "
            "bfloat16 allows");
}

TEST(ActivationDtypeTest, OthersAreOtherBitsOfAnotherFingerprint) {
  const Loaded plain = LoadAndDraw(Options("fp8", "bfloat16"));
  const Loaded rounded = LoadAndDraw(Options("fp8", kFp8Activations));
  EXPECT_THAT(plain.fingerprint, Not(HasSubstr("fp8_inputs")));
  EXPECT_THAT(rounded.fingerprint, HasSubstr("-cpu-fp8_inputs-"));
  EXPECT_NE(rounded.drawn, plain.drawn);
  EXPECT_EQ(LoadAndDraw(Options("fp8", kFp8Activations), 5).drawn, rounded.drawn);
}

}  // namespace
}  // namespace thinkwire::worker::model
