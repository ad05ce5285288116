#include "router/http/origin_check.h"

#include <gtest/gtest.h>

#include <string>

namespace thinkwire::router::http {
namespace {

absl::Status Check(const OriginCheck& check, const std::string& host, const std::string& origin) {
  Request request;
  if (!host.empty()) request.headers["host"] = host;
  if (!origin.empty()) request.headers["origin"] = origin;
  return check.Check(request);
}

TEST(OriginCheckTest, AHostIsAnAddressLocalhostOrNamed) {
  const OriginCheck check(ReadList("router.example, gpu-1"), {});
  for (const char* host :
       {"localhost", "localhost:8080", "LOCALHOST:1", "a.localhost", "10.0.0.7", "127.0.0.1:80",
        "[::1]:80", "[2001:db8::1]", "router.example:443", "GPU-1", ""}) {
    EXPECT_TRUE(Check(check, host, "").ok()) << host;
  }
  for (const char* host : {"evil.example", "localhost.evil.example", "router.example.evil", "x",
                           "1.2.3.4.evil.example:80"}) {
    EXPECT_TRUE(absl::IsPermissionDenied(Check(check, host, ""))) << host;
  }
  EXPECT_TRUE(Check(OriginCheck(ReadList("*"), {}), "any.example", "").ok());
}

TEST(OriginCheckTest, AnOriginIsTheHostItselfOrNamed) {
  const OriginCheck check({}, ReadList("https://chat.example.org,"));
  EXPECT_TRUE(Check(check, "localhost:80", "http://localhost:80").ok());
  EXPECT_TRUE(Check(check, "localhost:80", "https://chat.example.org").ok());
  for (const char* origin : {"http://localhost", "http://localhost:81", "null", "file://",
                             "https://chat.example.org.evil", "http://chat.example.org", "x"}) {
    EXPECT_TRUE(absl::IsPermissionDenied(Check(check, "localhost:80", origin))) << origin;
  }
}

TEST(OriginCheckTest, OnlyWantedPagesMayReadTheAnswer) {
  const OriginCheck check({}, ReadList("https://chat.example.org"));
  Request request;
  EXPECT_TRUE(check.CorsFields(request).empty());
  request.headers["origin"] = "https://evil.example";
  EXPECT_TRUE(check.CorsFields(request).empty());
  request.headers["origin"] = "https://chat.example.org";
  ASSERT_FALSE(check.CorsFields(request).empty());
  EXPECT_EQ(check.CorsFields(request)[0].second, "https://chat.example.org");
}

}  // namespace
}  // namespace thinkwire::router::http
