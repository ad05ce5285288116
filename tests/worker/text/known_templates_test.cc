#include "worker/text/known_templates.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_replace.h"
#include "tests/worker/text/test_tokenizer.h"
#include "worker/text/template_pieces.h"

namespace thinkwire::worker::text {
namespace {

using Pieces = std::vector<std::string>;

TEST(TemplatePieces, AreTagsAndTheTextBetween) {
  EXPECT_EQ(TemplatePieces("a{{ b }}c{% if d %}e{# f #}g"),
            (Pieces{"=a", "{b", "=c", "%if d", "=e", "=g"}));
  EXPECT_EQ(TemplatePieces(""), Pieces{});
  EXPECT_EQ(TemplatePieces("{ a } {x"), Pieces{"={ a } {x"});
}

TEST(TemplatePieces, KnowNoWhiteSpaceThatSeparatesNothing) {
  EXPECT_EQ(TemplatePieces("{{a+b['c']}}"), TemplatePieces("{{ a + b[ 'c' ]\n}}"));
  EXPECT_NE(TemplatePieces("{% if not a %}"), TemplatePieces("{% if nota %}"));
  EXPECT_NE(TemplatePieces("{{ 'a b' }}"), TemplatePieces("{{ 'ab' }}"));
  EXPECT_EQ(TemplatePieces("{{ \"a\" }}"), TemplatePieces("{{ 'a' }}"));
  EXPECT_EQ(TemplatePieces("{{ \"it's\" }}"), Pieces{"{\"it's\""});
  EXPECT_EQ(TemplatePieces("{{ 'a\n' }}"), TemplatePieces("{{ 'a\\n' }}"));
  EXPECT_EQ(TemplatePieces("{{ '}}' }}x"), (Pieces{"{'}}'", "=x"}));
}

TEST(TemplatePieces, TrimAsTransformersDoes) {
  EXPECT_EQ(TemplatePieces("a {%- if b -%}\n c"), (Pieces{"=a", "%if b", "=c"}));
  EXPECT_EQ(TemplatePieces("{% if b %}\n  {% if c %}\n"), (Pieces{"%if b", "%if c"}));
  EXPECT_EQ(TemplatePieces("{% if b %} {% if c %}"), (Pieces{"%if b", "= ", "%if c"}));
  EXPECT_EQ(TemplatePieces("{{ b }}\n{{ c }}\n"), (Pieces{"{b", "=\n", "{c"}));
  EXPECT_EQ(TemplatePieces("  {{ b }}"), (Pieces{"=  ", "{b"}));
}

TEST(TemplatePieces, TakeWhatIsNoTemplate) {
  for (const char* text :
       {"{{", "{%", "{#", "{%-", "{{ '", "{{ \"\\", "{% a", "{#}", "{%}", "-%}"}) {
    TemplatePieces(text);
  }
}

std::string BundledTemplate() {
  std::ifstream file("deploy/models/tiny-r1/tokenizer_config.json");
  return nlohmann::json::parse(file)["chat_template"];
}

TEST(RecogniseTemplate, KnowsTheBundledOneHoweverItIsLaidOut) {
  const std::string bundled = BundledTemplate();
  ASSERT_TRUE(RecogniseTemplate(bundled).ok()) << RecogniseTemplate(bundled).status();
  EXPECT_EQ(*RecogniseTemplate(bundled), TemplateKind::kDistill);
  const auto changed = [&bundled](const char* from, const char* to) {
    return RecogniseTemplate(absl::StrReplaceAll(bundled, {{from, to}})).ok();
  };
  EXPECT_TRUE(changed("{%- if", "\n  {%- if"));
  EXPECT_TRUE(changed("<think>\\n", ""));
  EXPECT_TRUE(changed("' + message", "'+message"));
  EXPECT_FALSE(changed("{{'<｜User｜>'", "{{'<|User|>'"));
  EXPECT_FALSE(changed("<think>\\n", "<think>"));
  EXPECT_FALSE(changed("[-1]", "[0]"));
}

TEST(RecogniseTemplate, ShowsWhereAnotherDeparts) {
  const auto why = [](const std::string& text) {
    return std::string(RecogniseTemplate(text).status().message());
  };
  const std::string other =
      absl::StrReplaceAll(BundledTemplate(), {{"{{'<｜User｜>' +", "{{'[INST] ' +"}});
  EXPECT_EQ(why(other),
            "is not one that this program renders: it departs from the R1 distills' at "
            "{{ '[INST] '+message['content'] }}, piece 14 of 26");
  EXPECT_NE(why("").find("in its end, piece 1 of 0"), std::string::npos) << why("");
  EXPECT_NE(why("{% for m in x %}").find("at {% for m in x %}"), std::string::npos);
}

class ChooseTemplateTest : public testing::Test {
 protected:
  ~ChooseTemplateTest() override { std::filesystem::remove_all(folder_); }

  static std::filesystem::path MakeFolder() {
    std::string path = testing::TempDir() + "/thinkwire-template-XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    return path;
  }
  absl::StatusOr<TemplateChoice> Choose(bool any = false) const {
    return ChooseTemplate(folder_, *tokenizer_, any);
  }
  void Write(const char* name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  static std::string Config(const nlohmann::json& chat_template) {
    return nlohmann::json{{"chat_template", chat_template}}.dump();
  }

  std::filesystem::path folder_ = MakeFolder();
  const std::unique_ptr<Tokenizer> tokenizer_ = LoadSmall("r1-small");
};

TEST_F(ChooseTemplateTest, WithoutOneTheVocabularySaysIt) {
  EXPECT_EQ(Choose()->kind, TemplateKind::kR1);
  Write("tokenizer_config.json", "{}");
  EXPECT_EQ(Choose()->kind, TemplateKind::kR1);
}

TEST_F(ChooseTemplateTest, AKnownOneSaysIt) {
  Write("tokenizer_config.json", Config(BundledTemplate()));
  EXPECT_EQ(Choose()->kind, TemplateKind::kDistill);
  EXPECT_TRUE(Choose()->warnings.empty());
  Write("tokenizer_config.json", Config({{{"name", "tool_use"}, {"template", "x"}},
                                         {{"name", "default"}, {"template", BundledTemplate()}}}));
  EXPECT_EQ(Choose()->kind, TemplateKind::kDistill);
}

TEST_F(ChooseTemplateTest, TheFileOfItsOwnIsObeyedAndTheOtherTold) {
  Write("tokenizer_config.json", Config("another"));
  Write("chat_template.jinja", BundledTemplate() + "\n");
  EXPECT_EQ(Choose()->kind, TemplateKind::kDistill);
  ASSERT_EQ(Choose()->warnings.size(), 1U);
  EXPECT_EQ(Choose()->warnings[0], (folder_ / "tokenizer_config.json").string() +
                                       ": chat_template is not obeyed: " +
                                       (folder_ / "chat_template.jinja").string() + " is");
  Write("tokenizer_config.json", Config(BundledTemplate()));
  EXPECT_TRUE(Choose()->warnings.empty());
  // Which one is broken does not matter.
  Write("tokenizer_config.json", Config(7));
  EXPECT_FALSE(Choose().ok());
}

TEST_F(ChooseTemplateTest, AnyOtherIsRefusedUnlessTheBuiltinOneIsWanted) {
  Write("tokenizer_config.json", Config("{{ 'another' }}"));
  const absl::Status refusal = Choose().status();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(refusal.message().find("at {{ 'another' }}"), absl::string_view::npos) << refusal;
  EXPECT_NE(refusal.message().find("--chat_template=builtin"), absl::string_view::npos);
  EXPECT_EQ(Choose(true)->kind, TemplateKind::kR1);
  EXPECT_NE(Choose(true)->warnings.at(0).find("at {{ 'another' }}"), std::string::npos);
  Write("tokenizer_config.json", Config(7));
  EXPECT_FALSE(Choose(true).ok());
}

}  // namespace
}  // namespace thinkwire::worker::text
