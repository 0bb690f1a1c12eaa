// Reads the heads of HTTP/1.x requests, one after the other, by Boost.Beast's parser.
//
// Shape    read(input) takes octets off the front of `input`; when a head is whole the result is a request or a
//          refusal, and what follows it stays in `input`. Then reset() for the next.
// Limits   a head of kMaxHead octets; requests with a body are refused.
// Errors   HttpRefusal: the status to answer with; the connection has to end then, its stream is not understood.
// Threads  belongs to one connection.
// Source   RFC 9110, RFC 9112.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.h"

namespace herdgate::admin {

inline constexpr std::size_t kMaxHead = 8192;

enum class Method : std::uint8_t { get, head, other };

struct HttpRequest {
  Method method = Method::get;
  std::string target, accept;  // of several Accept headers: joined by commas
  bool has_body = false;
  bool keep_alive = false;
  bool old = false;  // HTTP/1.0
};

struct HttpRefusal {
  int status = 400;
};

class HttpRequestReader {
 public:
  HttpRequestReader();
  ~HttpRequestReader();
  using Read = std::variant<std::monostate, HttpRequest, HttpRefusal>;  // monostate: more is needed
  Read read(Bytes& input);
  bool begun() const;  // part of a head has been taken
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace herdgate::admin
