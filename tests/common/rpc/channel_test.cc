#include "common/rpc/channel.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace thinkwire::rpc {
namespace {

class ProxyTest : public testing::Test {
 protected:
  ProxyTest() { Clear(); }
  ~ProxyTest() override { Clear(); }

  static void Clear() {
    for (const char* variable :
         {"grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"}) {
      unsetenv(variable);
    }
  }
};

TEST_F(ProxyTest, IsTheFirstOneNamedWithoutItsPassword) {
  EXPECT_EQ(ProxyOfEnvironment("router:50051"), "");
  setenv("http_proxy", "http://me:secret@proxy:3128", 1);
  EXPECT_EQ(ProxyOfEnvironment("router:50051"), "http://proxy:3128 (http_proxy)");
  setenv("grpc_proxy", "http://other:1", 1);
  EXPECT_EQ(ProxyOfEnvironment("router:50051"), "http://other:1 (grpc_proxy)");
}

TEST_F(ProxyTest, IsNoneForExceptions) {
  setenv("http_proxy", "http://proxy:3128", 1);
  setenv("no_proxy", "localhost,.example.org", 1);
  EXPECT_EQ(ProxyOfEnvironment("router.Example.org:1"), "");
  EXPECT_NE(ProxyOfEnvironment("router.example.com:1"), "");
}

TEST_F(ProxyTest, IsNotWantedForThisMachine) {
  EXPECT_EQ(ProxyFor("localhost:1"), Proxy::kNone);
  EXPECT_EQ(ProxyFor("[::1]:1"), Proxy::kNone);
  EXPECT_EQ(ProxyFor("router:1"), Proxy::kOfEnvironment);
}

}  // namespace
}  // namespace thinkwire::rpc
