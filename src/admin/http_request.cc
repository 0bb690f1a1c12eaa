#include "admin/http_request.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <limits>

namespace herdgate::admin {
namespace {

namespace http = boost::beast::http;
using Parser = http::request_parser<http::empty_body>;

HttpRequest request_of(const Parser& parser) {
  const auto& message = parser.get();
  HttpRequest request;
  if (message.method() == http::verb::head) request.method = Method::head;
  if (message.method() != http::verb::get && message.method() != http::verb::head) request.method = Method::other;
  request.target = std::string(message.target());
  const auto [first, last] = message.equal_range(http::field::accept);
  for (auto at = first; at != last; ++at) {
    if (!request.accept.empty()) request.accept += ',';
    request.accept += std::string(at->value());
  }
  request.has_body = parser.chunked() || parser.content_length().value_or(0) > 0;
  request.keep_alive = parser.keep_alive();
  constexpr unsigned kVersion10 = 10;
  request.old = message.version() <= kVersion10;
  return request;
}

}  // namespace

struct HttpRequestReader::State {
  State() { make(); }
  void make() {
    parser.emplace();
    parser->header_limit(kMaxHead);
    parser->body_limit(std::numeric_limits<std::uint64_t>::max());  // it is refused, not read
    taken = 0;
  }
  std::optional<Parser> parser;
  std::size_t taken = 0;  // of the head that is being read
};

HttpRequestReader::HttpRequestReader() : state_(std::make_unique<State>()) {}
HttpRequestReader::~HttpRequestReader() = default;

void HttpRequestReader::reset() { state_->make(); }
bool HttpRequestReader::begun() const { return state_->taken > 0; }

HttpRequestReader::Read HttpRequestReader::read(Bytes& input) {
  constexpr int kHeadTooLarge = 431;
  Parser& parser = *state_->parser;
  while (!parser.is_header_done()) {
    boost::beast::error_code problem;
    const std::size_t used = parser.put(boost::asio::const_buffer(input.data(), input.size()), problem);
    input.erase(0, used);
    state_->taken += used;
    const bool unfinished = problem == http::error::need_more;
    // The parser has limits for the first line and for the fields each; ours is for both.
    const std::size_t so_far = state_->taken + (parser.is_header_done() ? 0 : input.size());
    if (problem == http::error::header_limit || (so_far > kMaxHead && (unfinished || !problem)))
      return HttpRefusal{kHeadTooLarge};
    if (unfinished) return {};
    if (problem) return HttpRefusal{};
  }
  return request_of(parser);
}

}  // namespace herdgate::admin
