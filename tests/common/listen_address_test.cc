#include "common/listen_address.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace thinkwire {
namespace {

TEST(ListenAddress, ReadsNamesAndBothKindsOfAddress) {
  for (const auto& [text, host, port] :
       {std::array<const char*, 3>{"localhost:80", "localhost", "80"},
        {"127.0.0.1:0", "127.0.0.1", "0"},
        {"[::1]:65535", "::1", "65535"},
        {":1", "", "1"}}) {
    const auto address = ReadListenAddress(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, port);
  }
}

TEST(ListenAddress, RefusesWhatIsMalformedByItsOption) {
  for (const char* text : {"", "x", "x:", "x:-1", "x:65536", "x:4294967297", "::1:80", "[::1:80"}) {
    EXPECT_FALSE(ReadListenAddress(text).has_value()) << text;
  }
  EXPECT_EQ(CheckListenAddress("listen", "x\n"),
            absl::InvalidArgumentError("--listen: 'x\\n' is not host:port"));
  EXPECT_TRUE(CheckListenAddress("listen", "x:1").ok());
}

}  // namespace
}  // namespace thinkwire
