#include "common/rpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/server_call.h"
#include "common/rpc/shares.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ExtensionRequest;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

std::set<std::string> WithReflection(std::set<std::string> names) {
  names.insert(ServerReflection::service_full_name());
  return names;
}

void SetError(ServerReflectionResponse& response, grpc::StatusCode code, const std::string& text) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(text);
}

// The file and those that it imports, each once.
void AddFile(const FileDescriptor& file, ServerReflectionResponse& response,
             std::set<const FileDescriptor*>& added) {
  if (!added.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), response, added);
}

// `file` may be null: there is no such file.
void AnswerWithFile(const FileDescriptor* file, ServerReflectionResponse& response) {
  if (file == nullptr) return SetError(response, grpc::NOT_FOUND, "no file here has that");
  std::set<const FileDescriptor*> added;
  AddFile(*file, response, added);
}

const FileDescriptor* FileOfExtension(const ExtensionRequest& extension) {
  const Descriptor* type = Pool().FindMessageTypeByName(extension.containing_type());
  if (type == nullptr) return nullptr;
  const FieldDescriptor* field = Pool().FindExtensionByNumber(type, extension.extension_number());
  return field == nullptr ? nullptr : field->file();
}

void AnswerWithExtensions(const std::string& name, ServerReflectionResponse& response) {
  const Descriptor* type = Pool().FindMessageTypeByName(name);
  if (type == nullptr) return SetError(response, grpc::NOT_FOUND, "there is no such message");
  std::vector<const FieldDescriptor*> extensions;
  Pool().FindAllExtensions(type, &extensions);
  auto& answer = *response.mutable_all_extension_numbers_response();
  answer.set_base_type_name(name);
  for (const FieldDescriptor* extension : extensions) {
    answer.add_extension_number(extension->number());
  }
}

ServerReflectionResponse Respond(const ServerReflectionRequest& question,
                                 const std::set<std::string>& services) {
  ServerReflectionResponse response;
  response.set_valid_host(question.host());
  *response.mutable_original_request() = question;
  switch (question.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      AnswerWithFile(Pool().FindFileByName(question.file_by_filename()), response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      AnswerWithFile(Pool().FindFileContainingSymbol(question.file_containing_symbol()), response);
      break;
    case ServerReflectionRequest::kFileContainingExtension:
      AnswerWithFile(FileOfExtension(question.file_containing_extension()), response);
      break;
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      AnswerWithExtensions(question.all_extension_numbers_of_type(), response);
      break;
    case ServerReflectionRequest::kListServices:
      for (const std::string& name : services) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      SetError(response, grpc::UNIMPLEMENTED, "no such question is known here");
  }
  return response;
}

absl::Status TooMany() {
  return WithRetryAfter(Error(
      absl::StatusCode::kResourceExhausted, "TOO_MANY_REFLECTIONS",
      absl::StrCat("this client's share of ", kMaxReflections, " reflection streams is used up")));
}

absl::Status NotRead() {
  return Error(absl::StatusCode::kResourceExhausted, "ANSWERS_NOT_READ",
               "the stream asks on and does not read the answers");
}

absl::Status TooLarge(std::size_t bytes) {
  return Error(
      absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
      absl::StrCat("the question has ", bytes, " bytes, of at most ", kMaxReflectionBytes));
}

}  // namespace

class ReflectionService::Stream final : public ServerCall {
 public:
  // `service` outlives all calls of its server.
  explicit Stream(ReflectionService& service)
      : ServerCall(kMaxReflectionAnswers), service_(service) {}

 private:
  bool TakesMore() const override { return true; }
  void OnMessage(grpc::ByteBuffer message) override {
    if (absl::Status status = Reply(message); !status.ok()) Finish(std::move(status));
  }
  absl::Status Reply(const grpc::ByteBuffer& message) {
    if (message.Length() > kMaxReflectionBytes) return TooLarge(message.Length());
    ServerReflectionRequest question;
    RETURN_IF_ERROR(ParseRequest(message, question));
    if (!place_) place_ = service_.places_.Take(peer());
    if (!place_) return TooMany();
    return Write(Respond(question, service_.names_)) ? absl::OkStatus() : NotRead();
  }
  void OnEnded() override { place_.reset(); }

  ReflectionService& service_;
  std::optional<Shares::Held> place_;  // from the first question on
};

ReflectionService::ReflectionService(std::set<std::string> names, const TrustedPeers& trusted_peers,
                                     Admission admit)
    : admit_(std::move(admit)),
      names_(WithReflection(std::move(names))),
      places_(kMaxReflections, trusted_peers) {
  AddMethod(ServerReflection::service_full_name(), "ServerReflectionInfo",
            [this](const grpc::CallbackServerContext& /*context*/) {
              return std::make_shared<Stream>(*this);
            });
}

ReflectionService::~ReflectionService() = default;

absl::Status ReflectionService::Admit(const grpc::CallbackServerContext& context) const {
  return admit_ ? admit_(context) : absl::OkStatus();
}

}  // namespace thinkwire::rpc
