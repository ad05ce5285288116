#include "worker/model/checkpoint/rope_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kPositions = 131072;

struct Read {
  RopeConfig rope;
  std::vector<std::string> warnings;
};

absl::StatusOr<Read> ReadFrom(const json& config) {
  Read read;
  const ConfigReader reader(config, "config.json");
  const absl::Status status = ReadRope(reader, kPositions, read.rope, read.warnings);
  if (!status.ok()) return status;
  return read;
}

// Of a file that is right.
Read ReadRight(const json& config) {
  const auto read = ReadFrom(config);
  EXPECT_TRUE(read.ok()) << read.status() << " for " << config;
  return read.ok() ? *read : Read{};
}

std::string Refusal(const json& scaling) {
  const auto read = ReadFrom({{"rope_theta", 10000.0}, {"rope_scaling", scaling}});
  return read.ok() ? "accepted" : std::string(read.status().message());
}

json Llama3() {
  return {{"factor", 8.0},
          {"high_freq_factor", 4.0},
          {"low_freq_factor", 1.0},
          {"original_max_position_embeddings", 8192},
          {"rope_type", "llama3"}};
}

json Yarn() {
  return {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
}

template <class Scaling>
Scaling As(const Read& read) {
  const auto* scaling = std::get_if<Scaling>(&read.rope.scaling);
  EXPECT_NE(scaling, nullptr);
  return scaling == nullptr ? Scaling{} : *scaling;
}

bool IsPlain(const Read& read) { return std::holds_alternative<std::monostate>(read.rope.scaling); }

TEST(RopeConfigTest, NothingSaidIsPlainRope) {
  for (const json& config :
       {json::object(), json{{"rope_scaling", nullptr}}, json{{"rope_scaling", json::object()}},
        json{{"rope_parameters", {{"rope_theta", 10000.0}}}},
        json{{"rope_scaling", {{"type", "default"}}}}}) {
    const Read read = ReadRight(config);
    EXPECT_TRUE(IsPlain(read)) << config;
    EXPECT_EQ(read.rope.theta, 10000) << config;
    EXPECT_THAT(read.warnings, IsEmpty()) << config;
  }
}

TEST(RopeConfigTest, RopeParametersSayTheSameAsTheClassicKeys) {
  json modern = Llama3();
  modern["rope_theta"] = 500000.0;
  for (const json& config : {json{{"rope_theta", 500000.0}, {"rope_scaling", Llama3()}},
                             json{{"rope_parameters", modern}}}) {
    const Read read = ReadRight(config);
    EXPECT_EQ(read.rope.theta, 500000) << config;
    const auto llama = As<Llama3RopeScaling>(read);
    EXPECT_EQ(llama.factor, 8);
    EXPECT_EQ(llama.low_freq_factor, 1);
    EXPECT_EQ(llama.high_freq_factor, 4);
    EXPECT_EQ(llama.original_max_position_embeddings, 8192);
    EXPECT_THAT(read.warnings, IsEmpty());
  }
}

// As transformers 5.24 does: rope_theta of the object that lost is lost with it.
TEST(RopeConfigTest, RopeScalingIsObeyedBeforeRopeParameters) {
  for (const json& scaling : {Llama3(), Yarn()}) {
    const Read read =
        ReadRight({{"rope_scaling", scaling},
                   {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1000000.0}}}});
    EXPECT_FALSE(IsPlain(read));
    EXPECT_EQ(read.rope.theta, 10000);
    EXPECT_THAT(read.warnings,
                ElementsAre(AllOf(HasSubstr("rope_scaling"), HasSubstr("is obeyed"),
                                  HasSubstr("rope_parameters {\"rope_theta\":1000000.0"))));
  }
  const Read same = ReadRight({{"rope_scaling", Yarn()}, {"rope_parameters", Yarn()}});
  EXPECT_THAT(same.warnings, IsEmpty());
  const Read empty = ReadRight({{"rope_scaling", json::object()},
                                {"rope_theta", 5000.0},
                                {"rope_parameters", {{"rope_theta", 1000000.0}}}});
  EXPECT_EQ(empty.rope.theta, 1000000);
  EXPECT_THAT(empty.warnings, ElementsAre(HasSubstr("rope_theta 1e+06 is obeyed")));
}

TEST(RopeConfigTest, RopeTypeIsObeyedBeforeType) {
  const Read read = ReadRight(
      {{"rope_parameters", {{"type", "linear"}, {"rope_type", "default"}, {"factor", 2}}}});
  EXPECT_TRUE(IsPlain(read));
  EXPECT_THAT(read.warnings, ElementsAre(HasSubstr("rope_type \"default\" is obeyed")));
}

TEST(RopeConfigTest, TheOriginalContextIsTheConfigsThenTheObjectsThenAllPositions) {
  json scaling = Llama3();
  const Read outer =
      ReadRight({{"original_max_position_embeddings", 4096}, {"rope_scaling", scaling}});
  EXPECT_EQ(As<Llama3RopeScaling>(outer).original_max_position_embeddings, 4096);
  EXPECT_THAT(outer.warnings,
              ElementsAre(HasSubstr("original_max_position_embeddings 4096 is obeyed")));
  scaling.erase("original_max_position_embeddings");
  EXPECT_EQ(As<Llama3RopeScaling>(ReadRight({{"rope_scaling", scaling}}))
                .original_max_position_embeddings,
            kPositions);
}

TEST(RopeConfigTest, ReadsYarnWithItsDefaults) {
  const auto yarn = As<YarnRopeScaling>(ReadRight({{"rope_scaling", Yarn()}}));
  EXPECT_EQ(yarn.factor, 4);
  EXPECT_DOUBLE_EQ(yarn.attention_factor, 1.138629436111989);
  EXPECT_EQ(yarn.beta_fast, 32);
  EXPECT_EQ(yarn.beta_slow, 1);
  EXPECT_TRUE(yarn.truncate);
  json ratio = Yarn();
  ratio["factor"] = nullptr;
  EXPECT_EQ(As<YarnRopeScaling>(ReadRight({{"rope_scaling", ratio}})).factor, 4);
}

TEST(RopeConfigTest, YarnsAttentionFactorIsItsOwnThenThatOfTheScales) {
  json scaling = Yarn();
  scaling["factor"] = 40;
  scaling["mscale"] = 1.0;
  scaling["mscale_all_dim"] = 0.5;
  const auto factor = [&scaling] {
    return As<YarnRopeScaling>(ReadRight({{"rope_scaling", scaling}})).attention_factor;
  };
  EXPECT_DOUBLE_EQ(factor(), 1.1557219901962608);
  scaling["attention_factor"] = 1.5;
  EXPECT_EQ(factor(), 1.5);
}

TEST(RopeConfigTest, YarnStretchesTheContext) {
  EXPECT_EQ(StretchedPositions(ReadRight({{"rope_scaling", Yarn()}}).rope), 131072);
  json long_one = Yarn();
  long_one["factor"] = 1e6;
  EXPECT_EQ(StretchedPositions(ReadRight({{"rope_scaling", long_one}}).rope), 1 << 24);
  EXPECT_EQ(StretchedPositions(ReadRight({{"rope_scaling", Llama3()}}).rope), 0);
}

TEST(RopeConfigTest, DynamicRopeIsPlainWhereItIsServed) {
  const Read read = ReadRight({{"rope_scaling", {{"type", "dynamic"}, {"factor", 4.0}}}});
  EXPECT_TRUE(IsPlain(read));
  EXPECT_THAT(read.warnings, ElementsAre(HasSubstr("dynamic rope begins beyond")));
  EXPECT_EQ(
      As<LinearRopeScaling>(ReadRight({{"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}}))
          .factor,
      4);
}

TEST(RopeConfigTest, RefusesByKeyAndValue) {
  EXPECT_THAT(Refusal({{"rope_type", "longrope"}, {"factor", 4.0}}),
              AllOf(HasSubstr("config.json: rope_scaling: rope_type is \"longrope\""),
                    HasSubstr("default, linear, dynamic, llama3, yarn")));
  EXPECT_THAT(Refusal({{"type", 3}}), HasSubstr("type is 3"));
  EXPECT_THAT(Refusal("yarn"), HasSubstr("rope_scaling is \"yarn\"; supported: an object"));
  EXPECT_THAT(Refusal({{"rope_type", "llama3"}}), HasSubstr("factor is missing"));
  EXPECT_THAT(Refusal({{"rope_type", "linear"}}), HasSubstr("factor is missing"));
  EXPECT_THAT(Refusal({{"rope_type", "yarn"}, {"factor", 0}}), HasSubstr("factor is 0"));
  EXPECT_THAT(Refusal({{"rope_type", "yarn"}, {"factor", 2}, {"beta_fast", -1}}),
              HasSubstr("beta_fast is -1"));
  EXPECT_THAT(Refusal({{"full_attention", {{"rope_type", "yarn"}}}}),
              HasSubstr("one set of parameters for all layers"));
  EXPECT_THAT(Refusal({{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}),
              HasSubstr("partial_rotary_factor is 0.5"));
  json backwards = Llama3();
  backwards["high_freq_factor"] = 1.0;
  EXPECT_THAT(Refusal(backwards), HasSubstr("more than low_freq_factor 1"));
  const auto flat = ReadFrom({{"rope_theta", 1}, {"rope_scaling", Yarn()}});
  EXPECT_THAT(std::string(flat.status().message()), HasSubstr("more than 1 with yarn"));
}

}  // namespace
}  // namespace thinkwire::worker::model
