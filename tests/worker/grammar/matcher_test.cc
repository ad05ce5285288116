#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "common/peer_limits.h"
#include "tests/worker/grammar/grammar_testing.h"
#include "worker/grammar/grammar.h"
#include "worker/grammar/grammar_cache.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::grammar {
namespace {

using testing::HasSubstr;

const JsonSchemaFormat kPerson{
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":12},
    "mail":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string"}},
    "more":{"type":"object"}},"required":["name","tags"]})"};

std::vector<std::string> RandomTokens(std::mt19937& random) {
  const std::vector<std::string> parts = {"\"",   "\\", "{", "}",    "[",   ",",        ":",
                                          " ",    "\n", "a", "name", "ä",   "\xF0\x9F", "\x98\x80",
                                          "\xE2", "1",  ".", "@",    "tags"};
  std::vector<std::string> tokens = {std::string(40, ' '), std::string(200, 'x'), "\"name\":", "a"};
  for (int i = 0; i < 500; ++i) {
    std::string token;
    for (auto length = 1 + random() % 5; length > 0; --length) {
      token += parts[random() % parts.size()];
    }
    tokens.push_back(token);
  }
  for (int i = 0; i < 300; ++i) {  // words, which share beginnings
    std::string word;
    for (auto length = 1 + random() % 8; length > 0; --length) word += "aazzAbB1_"[random() % 9];
    tokens.push_back(word);
  }
  return tokens;
}

std::vector<MaskWord> MaskOf(Matcher& matcher, const Vocabulary& vocabulary) {
  std::vector<MaskWord> mask(vocabulary.num_words());
  matcher.NextMask(mask);
  return mask;
}

// A mask found by trying each id.
std::vector<MaskWord> TriedMask(const Matcher& matcher, const Vocabulary& vocabulary) {
  std::vector<MaskWord> mask(vocabulary.num_words());
  for (std::int32_t id = 0; id < vocabulary.num_ids(); ++id) {
    Matcher copy = matcher;
    if (copy.Accept(id)) SetBit(mask, id);
  }
  return mask;
}

TEST(MatcherTest, AMaskHasWhatIsAccepted) {
  std::mt19937 random(7);
  const auto vocabulary = MakeVocabulary(RandomTokens(random));
  for (const AnswerFormat& format : std::vector<AnswerFormat>{
           kPerson, RegexFormat{".{3,40}\"?"}, RegexFormat{"(a|ä|name)*1"},
           ChoicesFormat{{"a", "ab", "name", "\n"}}, JsonSchemaFormat{"true"},
           RegexFormat{"[a-z]{2,7}[A-Z]*"}, RegexFormat{"[A-Za-z0-9]{1,4}(x|[a-z_]{3,12})"},
           RegexFormat{"([a-y]{3}|[a-z]{5}|[A-Z])+"}}) {
    const auto grammar = MustCompile(format, vocabulary);
    for (int i = 0; i < 4; ++i) {
      const Walk walk = RandomWalk(grammar, 40, random);
      Matcher matcher(grammar);
      for (const std::int32_t id : walk.ids) {
        ASSERT_EQ(MaskOf(matcher, *vocabulary), TriedMask(matcher, *vocabulary)) << walk.text;
        ASSERT_TRUE(matcher.Accept(id));
      }
    }
  }
}

TEST(MatcherTest, ThereIsNoDeadEndInARandomVocabulary) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    std::mt19937 random(seed);
    const auto grammar = MustCompile(kPerson, MakeVocabulary(RandomTokens(random)));
    for (int i = 0; i < 20; ++i) {
      const Walk walk = RandomWalk(grammar, 400, random);
      EXPECT_FALSE(walk.dead_end) << walk.text;
      EXPECT_TRUE(walk.ended) << walk.text;
    }
  }
}

TEST(MatcherTest, WhatIsForgottenIsFoundAgain) {
  std::mt19937 random(3);
  const auto vocabulary = MakeVocabulary(RandomTokens(random));
  const auto grammar = MustCompile(kPerson, vocabulary);
  Matcher waiting(grammar);
  for (const char c : std::string_view("{\"name\":\"ab")) {
    ASSERT_TRUE(waiting.Accept(1 + static_cast<std::uint8_t>(c)));
  }
  const auto before = MaskOf(waiting, *vocabulary);
  const auto long_names =
      MustCompile(JsonSchemaFormat{R"({"type":"string","maxLength":30000})"}, vocabulary);
  Matcher other(long_names), early(long_names);
  ASSERT_TRUE(early.Accept(1 + '"'));
  const auto first = MaskOf(early, *vocabulary);
  ASSERT_TRUE(other.Accept(1 + '"'));
  for (std::size_t i = 0; i < kMaxKeptMasks + 50; ++i) {
    ASSERT_TRUE(other.Accept(1 + 'x'));
    MaskOf(other, *vocabulary);
  }
  EXPECT_EQ(MaskOf(early, *vocabulary), first);
  EXPECT_EQ(MaskOf(waiting, *vocabulary), before);
  other.Rewind(2);
  EXPECT_TRUE(other.Accept(1 + '"'));
  EXPECT_TRUE(other.IsOver());
}

TEST(MatcherTest, TakesBackWhatItAccepted) {
  Matcher matcher(MustCompile(RegexFormat{"ab|cd"}, MakeVocabulary()));
  ASSERT_TRUE(matcher.Accept(1 + 'a'));
  EXPECT_FALSE(matcher.Accept(1 + 'd'));
  ASSERT_TRUE(matcher.Accept(1 + 'b'));
  EXPECT_TRUE(matcher.IsOver());
  matcher.Rewind(2);
  EXPECT_FALSE(matcher.IsComplete());
  EXPECT_TRUE(matcher.Accept(1 + 'c'));
}

TEST(MatcherTest, TheOutputEndsWhereTheAnswerIsComplete) {
  const auto vocabulary = MakeVocabulary();
  Matcher matcher(MustCompile(ChoicesFormat{{"yes", "yes!"}}, vocabulary));
  EXPECT_FALSE(matcher.Accept(kEndId));
  for (const char c : std::string_view("yes")) ASSERT_TRUE(matcher.Accept(1 + c));
  EXPECT_TRUE(matcher.IsComplete());
  EXPECT_FALSE(matcher.IsOver());
  const auto mask = MaskOf(matcher, *vocabulary);
  EXPECT_TRUE(HasBit(mask, kEndId));
  EXPECT_TRUE(HasBit(mask, 1 + '!'));
  ASSERT_TRUE(matcher.Accept(kEndId));
  EXPECT_TRUE(matcher.IsOver());
  EXPECT_FALSE(matcher.Accept(1 + '!'));
}

TEST(MatcherTest, WorkOfAMaskIsBounded) {
  std::mt19937 random(5);
  std::vector<std::string> tokens;
  for (int i = 0; i < 20'000; ++i) {
    std::string token;
    for (int j = 0; j < 12; ++j) token += "ab"[random() % 2];
    tokens.push_back(token);
  }
  const auto vocabulary = MakeVocabulary(tokens);
  const auto grammar = MustCompile(RegexFormat{"(a|b)*a(a|b){400}"}, vocabulary);
  Matcher matcher(grammar);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(matcher.Accept(1 + "ab"[random() % 2]));
  const auto mask = MaskOf(matcher, *vocabulary);
  EXPECT_TRUE(HasBit(mask, 1 + 'a'));
  EXPECT_TRUE(HasBit(mask, 1 + 'b'));
  EXPECT_EQ(MaskOf(matcher, *vocabulary), mask);
  EXPECT_FALSE(HasBit(mask, 257));  // more states than a mask may meet: single bytes alone
}

TEST(MatcherTest, ForcesWhatHasOneWayOnAsTheTokenizerSpellsIt) {
  const auto tokenizer = *text::Tokenizer::Load("tests/data/tokenizers/qwen-small");
  const auto vocabulary =
      *Vocabulary::Create(*tokenizer, {*tokenizer->eos_id()}, tokenizer->num_ids());
  const auto grammar =
      MustCompile(ChoicesFormat{{"the answer is yes", "the answer is no"}}, vocabulary);
  Matcher matcher(grammar);
  const std::vector<std::int32_t> forced = matcher.ForcedRun();
  ASSERT_FALSE(forced.empty());
  std::string text;
  for (const std::int32_t id : forced) {
    ASSERT_TRUE(matcher.Accept(id));
    text += tokenizer->TokenBytes(id);
  }
  EXPECT_EQ(std::string("the answer is ").substr(0, text.size()), text);
  EXPECT_GE(text.size(), 8u);
  Matcher choice(MustCompile(ChoicesFormat{{"yes", "no"}}, vocabulary));
  EXPECT_TRUE(choice.ForcedRun().empty());
  ASSERT_TRUE(choice.Accept(*tokenizer->TokenId("y")));
  text = "y";
  for (const std::int32_t id : choice.ForcedRun()) text += tokenizer->TokenBytes(id);
  EXPECT_EQ(text, "yes");  // nothing can follow, so the last one is forced too
}

TEST(MatcherTest, AMaskIsFoundBeforehandWhateverBecomesOfTheMatcher) {
  std::mt19937 random(13);
  const auto vocabulary = MakeVocabulary(RandomTokens(random));
  const auto grammar = MustCompile(kPerson, vocabulary);
  const Walk walk = RandomWalk(MustCompile(kPerson, vocabulary), 40, random);
  auto matcher = std::make_unique<Matcher>(grammar);
  for (const std::int32_t id : walk.ids) {
    Matcher here = *matcher;
    if (const std::function<void()> work = matcher->MaskWork()) {
      ASSERT_TRUE(matcher->Accept(id));
      work();
    } else {
      ASSERT_TRUE(matcher->Accept(id));
    }
    EXPECT_EQ(here.MaskWork(), nullptr) << "it is known";
    EXPECT_EQ(MaskOf(here, *vocabulary), TriedMask(here, *vocabulary));
  }
  const std::function<void()> last = Matcher(grammar).MaskWork();
  EXPECT_EQ(last, nullptr) << "the first state's was found";
}

TEST(MatcherTest, ThreadsShareAGrammar) {
  std::mt19937 random(11);
  const auto grammar = MustCompile(kPerson, MakeVocabulary(RandomTokens(random)));
  const Walk expected = [&] {
    std::mt19937 same(1);
    return RandomWalk(grammar, 100, same);
  }();
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&grammar, &expected] {
      Matcher matcher(grammar);
      for (const std::int32_t id : expected.ids) {
        if (const auto work = matcher.MaskWork()) work();
        EXPECT_TRUE(matcher.Accept(id));
      }
    });
  }
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&grammar, &expected] {
      std::mt19937 same(1);
      EXPECT_EQ(RandomWalk(grammar, 100, same).ids, expected.ids);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(VocabularyTest, RefusesOneThatLacksAByte) {
  std::vector<Vocabulary::Token> tokens = {{"a", 1}};
  const auto vocabulary = Vocabulary::Create(std::move(tokens), {0}, 2);
  ASSERT_FALSE(vocabulary.ok());
  EXPECT_THAT(std::string(vocabulary.status().message()), HasSubstr("lacks 0"));
}

TEST(GrammarCacheTest, CompilesAFormatOnce) {
  GrammarCache cache(MakeVocabulary());
  const auto first = *cache.Get(kPerson);
  EXPECT_FALSE(first.was_known);
  const auto second = *cache.Get(kPerson);
  EXPECT_TRUE(second.was_known);
  EXPECT_EQ(second.grammar, first.grammar);
  EXPECT_NE(cache.Get(ChoicesFormat{{"ab"}})->grammar,
            cache.Get(ChoicesFormat{{"a", "b"}})->grammar);
  EXPECT_FALSE(cache.Get(RegexFormat{"("}).ok());
  for (std::size_t i = 0; i < kMaxGrammars; ++i) {
    ASSERT_TRUE(cache.Get(ChoicesFormat{{std::to_string(i)}}).ok());
  }
  EXPECT_FALSE(cache.Get(kPerson)->was_known) << "the oldest had to go";
}

TEST(GrammarCacheTest, KeepsSoManyBytesAndNoMore) {
  GrammarCache cache(MakeVocabulary());
  const auto large = [](char first) {
    ChoicesFormat format;
    for (std::uint32_t i = 1; i <= 10; ++i) {
      std::string& choice = format.choices.emplace_back(1, first);
      for (std::uint32_t word = i; choice.size() < kMaxChoiceBytes;) {
        word = word * 1664525 + 1013904223;
        choice += static_cast<char>('a' + (word >> 24) % 26);
      }
    }
    return format;
  };
  const auto found = *cache.Get(large('a'));
  ASSERT_GT(found.grammar->bytes(), kMaxCachedGrammarBytes / kMaxGrammars);
  for (char first = 'b'; first <= 'z'; ++first) ASSERT_TRUE(cache.Get(large(first)).ok());
  EXPECT_FALSE(cache.Get(large('a'))->was_known);
  EXPECT_TRUE(cache.Get(large('z'))->was_known);
}

}  // namespace
}  // namespace thinkwire::worker::grammar
