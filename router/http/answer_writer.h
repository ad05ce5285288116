#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "router/http/reply_form.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// Writes a stream's events as one API's answers: pieces that a streaming client is sent as they
// come, or one JSON object that all of them make. Threads: one at a time.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  // Of a stream's body.
  virtual const char* media_type() const = 0;

  // The next event. Returns what a streaming client is sent; nothing where the form is whole.
  virtual std::string Take(const v1::GenerateResponse& event) = 0;
  // What says in a stream that the request waits behind so many, and that all is well. Either may
  // be empty.
  virtual std::string Waiting(std::int32_t position) const = 0;
  virtual std::string KeepAlive() const = 0;
  // The end of a stream that went wrong, after which nothing comes. `error`: the JSON object.
  virtual std::string Failure(std::string_view error) const = 0;

  // The whole answer. REQUIRES: Completed was taken, the form is whole.
  virtual std::string Whole() const = 0;
  // Of the answer's texts and tokens that are kept so far, about.
  virtual std::size_t bytes() const = 0;
};

// Of the form's dialect. `id` is the request's, `model` what it asked for, `created` in seconds of
// Unix time.
std::unique_ptr<AnswerWriter> MakeAnswerWriter(const ReplyForm& form, const std::string& id,
                                               const std::string& model, std::int64_t created);

}  // namespace thinkwire::router::http
