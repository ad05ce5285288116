#include "router/tenants.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"

namespace thinkwire::router {
namespace {

// Of 64 letters 'a', and of 64 letters 'b'.
constexpr char kA[] = "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb";
constexpr char kB[] = "a0fab1377f49a759b57f63318262ebe89fabfc990e8e93ceac2984561482b9d4";

absl::StatusOr<Tenants> Parse(const std::string& text) { return Tenants::Parse(text, "keys"); }

std::string Refusal(const std::string& text) {
  const auto tenants = Parse(text);
  EXPECT_EQ(tenants.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(tenants.status().message());
}

TEST(TenantsTest, AreKnownByKeysAndCertificates) {
  const auto tenants = Parse(absl::StrCat("# who\n\nsearch sha256:", kA,
                                          " # its key\r\n  batch\tcertificate:spiffe://x/batch",
                                          " certificate:batch.test\nsearch sha256:", kB, "\n"));
  ASSERT_TRUE(tenants.ok()) << tenants.status();
  EXPECT_EQ(tenants->names(), (std::vector<std::string>{"search", "batch"}));
  EXPECT_EQ(tenants->OfKey(std::string(64, 'a')), "search");
  EXPECT_EQ(tenants->OfKey(std::string(64, 'c')), "");
  EXPECT_EQ(tenants->OfKey(kA), "") << "what the file says is no key";
  EXPECT_EQ(tenants->OfCertificate("batch.test"), "batch");
  EXPECT_EQ(tenants->OfCertificate("spiffe://x/batch"), "batch");
  EXPECT_EQ(tenants->OfCertificate("spiffe://x/Batch"), "");
  EXPECT_EQ(tenants->OfCertificate(""), "");
}

TEST(TenantsTest, TakeUpperCaseDigitsToo) {
  std::string upper = kA;
  for (char& digit : upper) digit = static_cast<char>(std::toupper(digit));
  EXPECT_EQ(Parse("a sha256:" + upper)->OfKey(std::string(64, 'a')), "a");
}

// The SHA-256 of what somebody could guess may be in the file, but its key is never taken.
TEST(TenantsTest, KnowNoShortKey) {
  const std::string of_password =
      "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
  EXPECT_EQ(Parse("a sha256:" + of_password)->OfKey("password"), "");
}

TEST(TenantsTest, RefuseWhatIsNoTenantByItsLine) {
  EXPECT_EQ(Refusal(""), "keys: names no tenant");
  EXPECT_EQ(Refusal("# search\n"), "keys: names no tenant");
  EXPECT_EQ(Refusal("\nsearch"),
            "keys:2: tenant search needs sha256:… or certificate:…, or a limit");
  EXPECT_EQ(Refusal("a/b sha256:0"),
            "keys:1: a line begins with a tenant's name: 1 to 48 of letters, digits, '.', '_', "
            "'-'");
  EXPECT_EQ(Refusal("a sha256:12"),
            "keys:1: sha256: takes the 64 hexadecimal digits of the key's SHA-256");
  EXPECT_EQ(Refusal(absl::StrCat("a sha256:", std::string(64, 'g'))),
            "keys:1: sha256: takes the 64 hexadecimal digits of the key's SHA-256");
  EXPECT_EQ(Refusal(absl::StrCat("a sha256:", kA, "\nb sha256:", kA)),
            "keys:2: a key is given twice");
  EXPECT_EQ(Refusal("a certificate:x\nb certificate:x"), "keys:2: certificate:x is given twice");
  EXPECT_EQ(Refusal("a certificate:"),
            "keys:1: certificate: takes 1 to 2048 bytes of UTF-8: a name of the certificate");
  EXPECT_EQ(Refusal("a certificate:\xff"),
            "keys:1: certificate: takes 1 to 2048 bytes of UTF-8: a name of the certificate");
}

TEST(TenantsTest, HaveLimits) {
  const auto tenants = Parse(absl::StrCat(
      "a sha256:", kA, " max_concurrency=4 weight=3\na tokens_per_minute=600 max_priority=normal\n",
      "b sha256:", kB, " max_priority=low"));
  ASSERT_TRUE(tenants.ok()) << tenants.status();
  const admission::TenantLimits a = tenants->LimitsOf("a");
  EXPECT_EQ(a.max_concurrency, 4);
  EXPECT_EQ(a.tokens_per_minute, 600);
  EXPECT_EQ(a.weight, 3);
  EXPECT_EQ(a.max_priority, admission::Priority::kNormal);
  const admission::TenantLimits b = tenants->LimitsOf("b");
  EXPECT_EQ(b.max_concurrency, 0);
  EXPECT_EQ(b.weight, 1);
  EXPECT_EQ(b.max_priority, admission::Priority::kLow);
  EXPECT_EQ(tenants->LimitsOf("nobody").max_priority, admission::Priority::kHigh);
}

TEST(TenantsTest, RefuseLimitsThatMeanNothing) {
  const auto limit = [](const std::string& words) {
    return Refusal(absl::StrCat("a sha256:", kA, " ", words));
  };
  EXPECT_EQ(limit("weight=0"), "keys:1: weight must be a whole number in [1, 1000]");
  EXPECT_EQ(limit("weight=1001"), "keys:1: weight must be a whole number in [1, 1000]");
  EXPECT_EQ(limit("max_concurrency=1.5"),
            "keys:1: max_concurrency must be a whole number in [1, 1000000000000]");
  EXPECT_EQ(limit("tokens_per_minute="),
            "keys:1: tokens_per_minute must be a whole number in [1, 1000000000000]");
  EXPECT_EQ(limit("max_priority=HIGH"), "keys:1: max_priority must be low, normal or high");
  EXPECT_EQ(limit("weight=2\na weight=2"), "keys:2: weight is given twice");
  EXPECT_EQ(limit("wait=2"),
            "keys:1: a word is neither sha256:… nor certificate:… nor one of max_concurrency=…, "
            "tokens_per_minute=…, weight=…, max_priority=…");
  EXPECT_EQ(limit("\nb weight=2"), "keys: tenant b has neither sha256:… nor certificate:…");
}

// Somebody who puts a key itself into the file must not find it in a log.
TEST(TenantsTest, ShowNoWordThatMayBeAKey) {
  const std::string key(64, 'k');
  EXPECT_EQ(Refusal("a " + key).find(key), std::string::npos);
  EXPECT_EQ(Refusal(key + " a").find(key), std::string::npos);
  EXPECT_EQ(Refusal("a sha256:" + key).find(key), std::string::npos);
  const std::string base64 = std::string(43, 'k') + "=";
  EXPECT_EQ(Refusal("a " + base64).find(base64.substr(0, 43)), std::string::npos);
}

TEST(TenantsTest, AreBounded) {
  std::string text;
  for (std::size_t i = 0; i < kMaxTenants; ++i)
    absl::StrAppend(&text, "t", i, " certificate:", i, "\n");
  EXPECT_TRUE(Parse(text).ok());
  EXPECT_EQ(Refusal(text + "more certificate:more"), "keys:257: more than 256 tenants");
  text = "a";
  for (std::size_t i = 0; i <= kMaxTenantKeys; ++i) {
    absl::StrAppend(&text, " sha256:", absl::Hex(i, absl::kZeroPad16),
                    absl::Hex(i, absl::kZeroPad16), absl::Hex(i, absl::kZeroPad16),
                    absl::Hex(i, absl::kZeroPad16));
  }
  EXPECT_EQ(Refusal(text), "keys:1: more than 1024 keys");
}

TEST(TenantsTest, SayWhichFileIsMissing) {
  const auto none = Tenants::Load("/none/keys");
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(none.status().message().find("/none/keys: "), 0u) << none.status();
}

}  // namespace
}  // namespace thinkwire::router
