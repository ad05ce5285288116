#include "common/rpc/request_parser.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>

#include <string>

#include "common/rpc/status_details.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::rpc {
namespace {

grpc::ByteBuffer Bytes(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// `request` with the one occurrence of `from` in its bytes replaced by as many other bytes.
std::string Forge(const v1::GenerateRequest& request, const std::string& from,
                  const std::string& to) {
  std::string bytes = request.SerializeAsString();
  bytes.replace(bytes.find(from), from.size(), to);
  return bytes;
}

v1::GenerateRequest Question(const std::string& text) {
  v1::GenerateRequest request;
  auto* first = request.mutable_prompt()->mutable_chat()->add_messages();
  first->set_role(v1::ROLE_SYSTEM);
  first->set_content("be brief");
  auto* second = request.mutable_prompt()->mutable_chat()->add_messages();
  second->set_role(v1::ROLE_USER);
  second->set_content(text);
  return request;
}

TEST(ParseRequest, TakesWhatAClientSends) {
  v1::GenerateRequest request;
  ASSERT_TRUE(ParseRequest(Serialize(Question("\u4f60\u597d \U0001F600")), request).ok());
  EXPECT_EQ(request.prompt().chat().messages(1).content(), "\u4f60\u597d \U0001F600");
}

TEST(ParseRequest, JoinsSlicesOfTheBuffer) {
  const std::string bytes = Question("abcdef").SerializeAsString();
  const grpc::Slice slices[] = {grpc::Slice(bytes.substr(0, 7)), grpc::Slice(bytes.substr(7))};
  v1::GenerateRequest request;
  ASSERT_TRUE(ParseRequest(grpc::ByteBuffer(slices, 2), request).ok());
  EXPECT_EQ(request.prompt().chat().messages(1).content(), "abcdef");
}

TEST(ParseRequest, NamesTheFieldThatIsNotUtf8) {
  for (const std::string bad : {"\xff\xfe.", "\xed\xa0\x80", "\xc0\xaf.", "\xf0\x9f\x98"}) {
    v1::GenerateRequest request;
    const absl::Status status = ParseRequest(Bytes(Forge(Question("abc"), "abc", bad)), request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "prompt.chat.messages[1].content is not valid UTF-8");
    EXPECT_EQ(ErrorMetadata(status, "field"), "prompt.chat.messages[1].content");
  }
}

TEST(ParseRequest, RefusesBytesThatAreNoMessage) {
  const std::string whole = Question("some text").SerializeAsString();
  for (const std::string& bytes :
       {std::string("\xff\xff\xff\xff\xff"), whole.substr(0, whole.size() - 3),
        std::string("\x0a\xff\xff\xff\xff\x0f", 6), std::string("\0\0", 2)}) {
    v1::GenerateRequest request;
    const absl::Status status = ParseRequest(Bytes(bytes), request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ErrorReason(status), "MALFORMED_REQUEST");
    EXPECT_NE(status.message().find("thinkwire.v1.GenerateRequest"), absl::string_view::npos);
  }
}

TEST(ParseRequest, RefusesUnknownFieldsAtAnyDepth) {
  v1::GenerateRequest sent = Question("x");
  auto* chat = sent.mutable_prompt()->mutable_chat();
  chat->GetReflection()->MutableUnknownFields(chat->mutable_messages(1))->AddVarint(99, 1);
  v1::GenerateRequest request;
  absl::Status status = ParseRequest(Serialize(sent), request);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(ErrorReason(status), "UNKNOWN_FIELD");
  EXPECT_EQ(ErrorMetadata(status, "field"), "prompt.chat.messages[1].#99");

  sent = Question("x");
  sent.GetReflection()->MutableUnknownFields(&sent)->AddLengthDelimited(1000, "new");
  status = ParseRequest(Serialize(sent), request);
  EXPECT_EQ(status.message(), "field number 1000 of the request is not known to this server");
}

TEST(ParseRequest, RefusesUnknownEnumValues) {
  v1::GenerateRequest sent = Question("x");
  sent.mutable_prompt()->mutable_chat()->mutable_messages(0)->set_role(static_cast<v1::Role>(7));
  v1::GenerateRequest request;
  const absl::Status status = ParseRequest(Serialize(sent), request);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(),
            "value 7 of prompt.chat.messages[0].role is not known to this server");
}

}  // namespace
}  // namespace thinkwire::rpc
