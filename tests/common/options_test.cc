#include "common/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace thinkwire {
namespace {

struct Values {
  std::string listen = "localhost:1";
  bool color = true;
  std::int32_t grace_s = 30;
  std::optional<std::uint64_t> seed;
  std::optional<float> temperature;
  std::optional<std::int32_t> max_tokens;

  absl::StatusOr<std::vector<std::string>> Parse(const std::vector<const char*>& arguments) {
    return ParseOptions(arguments, Options());
  }
  std::vector<Option> Options() {
    return {{"listen", &listen, "where"},         {"color", &color, "whether"},
            {"grace_s", &grace_s, "how long"},    {"seed", &seed, "which"},
            {"temperature", &temperature, "hot"}, {"max_tokens", &max_tokens, "how many"}};
  }
};

TEST(ParseOptions, TakesEverySpelling) {
  Values values;
  const auto rest =
      values.Parse({"--listen", "a:2", "what", "--grace-s=5", "--no-color",
                    "--seed=18446744073709551615", "--temperature", "0.5", "--", "--is", "this"});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(*rest, (std::vector<std::string>{"what", "--is", "this"}));
  EXPECT_EQ(values.listen, "a:2");
  EXPECT_FALSE(values.color);
  EXPECT_EQ(values.grace_s, 5);
  EXPECT_EQ(values.seed, 18446744073709551615U);
  EXPECT_EQ(values.temperature, 0.5F);
  EXPECT_EQ(values.max_tokens, std::nullopt);
}

TEST(ParseOptions, NamesTheOptionThatIsWrong) {
  const std::vector<std::pair<std::vector<const char*>, std::string>> cases = {
      {{"-c"}, "unknown option -c (see --help); a text that begins with a dash goes behind --"},
      {{"-5"}, "unknown option -5 (see --help); a text that begins with a dash goes behind --"},
      {{"-h"}, "unknown option --help (see --help)"},
      {{"--colour"}, "unknown option --colour (see --help)"},
      {{"--nolisten"}, "unknown option --nolisten (see --help)"},
      {{"--no-color=true"}, "unknown option --no-color (see --help)"},
      {{"--listen"}, "--listen needs a value"},
      {{"--grace_s=soon"}, "--grace_s: 'soon' is not a whole number"},
      {{"--grace_s=3000000000"}, "--grace_s: '3000000000' is not a whole number"},
      {{"--seed=-1"}, "--seed: '-1' is not a whole number of 0 or more"},
      {{"--temperature=warm"}, "--temperature: 'warm' is not a number"},
      {{"--color=perhaps"}, "--color: 'perhaps' is not true or false"},
      {{"--seed=1", "--seed=2"}, "--seed is given twice"},
  };
  for (const auto& [arguments, message] : cases) {
    Values values;
    const auto rest = values.Parse(arguments);
    EXPECT_EQ(rest.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(rest.status().message(), message);
  }
}

// The same options where each takes only some values.
struct Limited {
  std::string device = "";
  std::int64_t bytes = 0;
  double share = 0.5;
  std::optional<double> timeout_s;
  std::optional<float> top_p;
  std::string secret = "x";
  bool help = false;

  std::vector<Option> Options() {
    return {{"device", &device, "where", OneOf("cpu|cuda")},
            {"bytes", &bytes, "how many", Between(16, 9e15)},
            {"share", &share, "of all", Between(0.05, 1)},
            {"timeout_s", &timeout_s, "how long", AtLeast(0.5)},
            {"top_p", &top_p, "of what", Above(0, 1)},
            {"secret", &secret, nullptr},
            {"help", &help, "this"}};
  }
};

TEST(ParseOptions, TakesTheDefaultAndWhatIsAllowed) {
  Limited values;
  const std::vector<const char*> arguments = {"--device=",       "--bytes=0",  "--share=1",
                                              "--timeout_s=0.5", "--secret=y", "-h"};
  ASSERT_TRUE(ParseOptions(arguments, values.Options()).ok());
  EXPECT_EQ(values.share, 1);
  EXPECT_EQ(values.timeout_s, 0.5);
  EXPECT_TRUE(values.help);
  EXPECT_EQ(values.secret, "y");
}

TEST(ParseOptions, SaysWhatIsAllowed) {
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"--device=tpu", "--device: 'tpu' is not supported: cpu, cuda"},
      {"--bytes=15", "--bytes: '15' is not a whole number from 16 to 9000000000000000"},
      {"--share=nan", "--share: 'nan' is not a number from 0.05 to 1"},
      {"--timeout_s=0", "--timeout_s: '0' is not a number of 0.5 or more"},
      {"--top_p=0", "--top_p: '0' is not a number above 0, up to 1"},
  };
  for (const auto& [argument, message] : cases) {
    Limited values;
    const std::vector<const char*> arguments = {argument};
    EXPECT_EQ(ParseOptions(arguments, values.Options()).status().message(), message);
  }
}

TEST(DescribeOptions, ShowsWhatIsAllowedAndHidesWhatHasNoHelp) {
  Limited values;
  EXPECT_EQ(DescribeOptions(values.Options()),
            "  --device\n      where (cpu|cuda)\n"
            "  --bytes=0\n      how many [16..9000000000000000]\n"
            "  --share=0.5\n      of all [0.05..1]\n"
            "  --timeout_s\n      how long [0.5..]\n"
            "  --top_p\n      of what (0..1]\n"
            "  --help=false\n      this\n");
}

TEST(LogOptions, WritesAFieldForEveryOptionThatIsSetAndNotHidden) {
  Limited values;
  values.device = "cpu";
  testing::internal::CaptureStderr();
  LogOptions(values.Options());
  const std::string record = testing::internal::GetCapturedStderr();
  EXPECT_THAT(record,
              testing::EndsWith(R"("level":"info","message":"options","device":"cpu","bytes":0,)"
                                R"("share":0.5})"
                                "\n"));
}

// A variable of the environment, as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* const name_;
};

TEST(ParseOptions, TakesTheEnvironmentWhereTheCommandLineSaysNothing) {
  const Variable device("OPTIONS_TEST_DEVICE", "cpu");
  const Variable share("OPTIONS_TEST_SHARE", "0.25");
  const Variable bytes("OPTIONS_TEST_BYTES", "");
  const Variable secret("OPTIONS_TEST_SECRET", "y");
  const Variable help("OPTIONS_TEST_HELP", "true");
  Limited values;
  const std::vector<const char*> arguments = {"--share=0.75"};
  ASSERT_TRUE(ParseOptions(arguments, values.Options(), "OPTIONS_TEST_").ok());
  EXPECT_EQ(values.device, "cpu");
  EXPECT_EQ(values.share, 0.75);
  EXPECT_EQ(values.bytes, 0);
  EXPECT_EQ(values.secret, "x");
  EXPECT_FALSE(values.help);
}

TEST(ParseOptions, NamesTheVariableThatIsWrong) {
  const Variable timeout("OPTIONS_TEST_TIMEOUT_S", "soon");
  Limited values;
  EXPECT_EQ(ParseOptions({}, values.Options(), "OPTIONS_TEST_").status().message(),
            "OPTIONS_TEST_TIMEOUT_S: 'soon' is not a number of 0.5 or more");
  EXPECT_TRUE(ParseOptions({}, values.Options()).ok());
}

TEST(UnsetOption, TakesBackTextsAndWhatHasNoDefault) {
  Limited values;
  values.timeout_s = 3;
  EXPECT_TRUE(UnsetOption("timeout-s", values.Options()).ok());
  EXPECT_EQ(values.timeout_s, std::nullopt);
  EXPECT_FALSE(UnsetOption("share", values.Options()).ok());
  EXPECT_FALSE(UnsetOption("nothing", values.Options()).ok());
}

TEST(DescribeOptions, ShowsDefaults) {
  Values values;
  const std::string text = DescribeOptions(values.Options());
  EXPECT_NE(text.find("  --listen=localhost:1\n      where\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  --seed\n      which\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace thinkwire
