#include "worker/hub/digest.h"

#include <gtest/gtest.h>

#include <string>

namespace thinkwire::worker::hub {
namespace {

std::string Sum(const std::string& etag, const std::string& text) {
  Digest digest(etag, std::ssize(text));
  digest.Add(text.substr(0, 2));
  digest.Add(text.substr(2));
  return digest.Result();
}

TEST(Digest, IsSha256ForSixtyFourDigits) {
  EXPECT_EQ(Sum(std::string(64, '0'), "abc"),  // FIPS 180-2, appendix B.1
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, IsTheIdOfGitsBlobForForty) {
  EXPECT_EQ(Sum(std::string(40, '0'), "hello\n"),  // echo hello | git hash-object --stdin
            "ce013625030ba8dba906f756967f9e9ca394464a");
}

TEST(Digest, SaysNothingForOtherEtags) {
  for (const std::string etag : {"5d41402abc4b2a76b9719d911017c592", "x", ""}) {
    EXPECT_EQ(Sum(etag, "whatever"), etag);
  }
  EXPECT_EQ(Sum(std::string(64, 'x'), "abc"), std::string(64, 'x'));
}

}  // namespace
}  // namespace thinkwire::worker::hub
