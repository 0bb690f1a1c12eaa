#include "pcp/message.h"

#include <fmt/format.h>

#include <charconv>

#include "auth/digest.h"
#include "pcp/errc.h"

namespace herdgate::pcp {
namespace {

enum class Shape : std::uint8_t { empty, number, option, promote, text, two_texts };

struct About {
  Ask ask;
  Shape shape;
  char reply;
  const char* words;  // for the log
};
constexpr About kAsks[] = {
    {Ask::salt, Shape::empty, 'm', "login"},
    {Ask::login, Shape::two_texts, 'r', "login"},
    {Ask::set_parameter, Shape::two_texts, 'a', "set parameter"},
    {Ask::pool_status, Shape::empty, 'b', "pool status"},
    {Ask::attach, Shape::number, 'c', "attach node"},
    {Ask::detach, Shape::number, 'd', "detach node"},
    {Ask::detach_gracefully, Shape::number, 'd', "gracefully detach node"},
    {Ask::stop_recovery, Shape::empty, 0, "stop recovery"},
    {Ask::drop_cache, Shape::empty, 'g', "invalidate query cache"},
    {Ask::health_check_stats, Shape::number, 'h', "health check statistics of node"},
    {Ask::node_info, Shape::number, 'i', "information about node"},
    {Ask::promote, Shape::promote, 'd', "promote node"},
    {Ask::promote_gracefully, Shape::promote, 'd', "gracefully promote node"},
    {Ask::node_count, Shape::empty, 'l', "node count"},
    {Ask::process_count, Shape::empty, 'n', "process count"},
    {Ask::recover, Shape::number, 'c', "recover node"},
    {Ask::process_info, Shape::number, 'p', "information about process"},
    {Ask::stop, Shape::option, 't', "stop pgpool"},
    {Ask::stop_cluster, Shape::option, 't', "stop pgpool in the whole cluster"},
    {Ask::rotate_log, Shape::option, 'v', "rotate log"},
    {Ask::watchdog_info, Shape::number, 'w', "watchdog information about node"},
    {Ask::reload, Shape::option, 'z', "reload configuration"},
    {Ask::bye, Shape::empty, 0, "end"},
    {Ask::pause, Shape::text, 'u', "pause"},
    {Ask::resume, Shape::text, 'y', "resume"},
};

const About* about(char letter) {
  for (const About& each : kAsks)
    if (static_cast<char>(each.ask) == letter) return &each;
  return nullptr;
}

Result<int> first_number(ByteView payload) {
  const auto all = texts(payload);
  const auto number = all.empty() ? std::nullopt : number_of(all.front());
  if (!number) return fail(Errc::bad_payload, "a number is missing");
  return *number;
}

// The number, a blank, a NUL, then the option.
Result<Done> parse_promote(ByteView payload, Request& out) {
  const std::size_t blank = payload.find(' ');
  const auto number = number_of(payload.substr(0, blank));
  if (blank == payload.npos || !number || payload.size() < blank + 3)
    return fail(Errc::bad_payload, "a node and an option are missing");
  out.number = *number;
  out.option = payload[blank + 2];
  return Done{};
}

Result<Done> parse_payload(Shape shape, ByteView payload, Request& out) {
  switch (shape) {
    case Shape::empty:
      return Done{};
    case Shape::number: {
      HG_TRY(out.number, first_number(payload));
      return Done{};
    }
    case Shape::option:
      if (payload.empty()) return fail(Errc::bad_payload, "an option is missing");
      out.option = payload.front();
      return Done{};
    case Shape::promote:
      return parse_promote(payload, out);
    case Shape::text: {
      const auto all = texts(payload);
      if (all.empty()) return fail(Errc::bad_payload, "a text is missing");
      out.name = all.front();
      return Done{};
    }
    case Shape::two_texts: {
      const auto all = texts(payload);
      if (all.size() < 2) return fail(Errc::bad_payload, "two texts are missing");
      out.name = all[0];
      out.value = all[1];
      return Done{};
    }
  }
  return Done{};
}

void put_field(Bytes& out, char letter, std::string_view text) {
  if (text.empty()) return;
  out.push_back(letter);
  append_cstr(out, text.substr(0, text.find('\0')));
}

}  // namespace

Result<std::optional<Frame>> first_frame(ByteView input, std::size_t limit) {
  if (input.size() < kHeaderBytes) return std::optional<Frame>{};
  const std::uint32_t length = load_u32(input.data() + 1);
  // Printed as the original does, with a sign.
  if (length < kLengthBytes || length >= limit)
    return fail(Errc::bad_length, std::to_string(static_cast<std::int32_t>(length)));
  if (input.size() < 1 + std::size_t{length}) return std::optional<Frame>{};
  return Frame{input.front(), input.substr(kHeaderBytes, length - kLengthBytes), 1 + std::size_t{length}};
}

void put_frame(Bytes& out, char letter, ByteView payload) {
  out.push_back(letter);
  append_u32(out, static_cast<std::uint32_t>(kLengthBytes + payload.size()));
  out.append(payload);
}

Result<Request> parse_request(const Frame& frame) {
  const About* found = about(frame.letter);
  if (found == nullptr) return fail(Errc::unknown_request, std::string(1, frame.letter));
  Request out;
  out.ask = found->ask;
  HG_CHECK(parse_payload(found->shape, frame.payload, out));
  return out;
}

void put_request(Bytes& out, const Request& request) {
  const auto letter = static_cast<char>(request.ask);
  Bytes payload;
  switch (about(letter)->shape) {
    case Shape::empty:
      break;
    case Shape::number:
      append_cstr(payload, std::to_string(request.number));
      break;
    case Shape::option:
      payload.push_back(request.option);
      break;
    case Shape::promote:
      append_cstr(payload, std::to_string(request.number) + " ");
      payload.push_back(request.option);
      break;
    case Shape::text:
      append_cstr(payload, request.name);
      break;
    case Shape::two_texts:
      append_cstr(payload, request.name);
      append_cstr(payload, request.value);
      break;
  }
  put_frame(out, letter, payload);
}

std::string describe(const Request& request) {
  const About* found = about(static_cast<char>(request.ask));
  switch (found->shape) {
    case Shape::number:
    case Shape::promote:
      return fmt::format("{} {}", found->words, request.number);
    case Shape::text:
      return fmt::format("{} {}", found->words,
                         request.name.empty() ? "all databases" : fmt::format("database \"{}\"", request.name));
    default:
      return found->words;
  }
}

char reply_letter(Ask ask) { return about(static_cast<char>(ask))->reply; }

void put_row(Bytes& out, char letter, std::string_view tag, std::span<const std::string> values) {
  Bytes payload;
  append_cstr(payload, tag);
  // A NUL inside a value would shift all that follow it.
  for (const std::string& value : values) append_cstr(payload, std::string_view(value).substr(0, value.find('\0')));
  put_frame(out, letter, payload);
}

void put_done(Bytes& out, char letter, std::span<const std::string> values) { put_row(out, letter, kDone, values); }

std::vector<std::string_view> texts(ByteView payload) {
  std::vector<std::string_view> out;
  while (!payload.empty()) {
    const std::size_t end = std::min(payload.find('\0'), payload.size());
    out.push_back(payload.substr(0, end));
    payload.remove_prefix(std::min(end + 1, payload.size()));
  }
  return out;
}

std::optional<int> number_of(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

void put_trouble(Bytes& out, const Trouble& trouble) {
  Bytes payload;
  put_field(payload, 'S', trouble.severity);
  put_field(payload, 'C', trouble.sqlstate);
  put_field(payload, 'M', trouble.message);
  put_field(payload, 'D', trouble.detail);
  put_field(payload, 'H', trouble.hint);
  put_field(payload, 'F', "pcp");
  put_field(payload, 'L', "0");
  payload.push_back('\0');
  put_frame(out, 'E', payload);
}

Trouble parse_trouble(ByteView payload) {
  Trouble out;
  for (const std::string_view text : texts(payload)) {
    if (text.empty()) break;
    const std::string value(text.substr(1));
    if (text.front() == 'S') out.severity = value;
    if (text.front() == 'C') out.sqlstate = value;
    if (text.front() == 'M') out.message = value;
    if (text.front() == 'D') out.detail = value;
    if (text.front() == 'H') out.hint = value;
  }
  return out;
}

Result<std::string> login_proof(std::string_view stored, std::string_view user, ByteView salt) {
  HG_TRY(std::string inner, auth::md5_hex(std::string(stored).append(user)));
  return auth::md5_hex(inner.append(salt));
}

}  // namespace herdgate::pcp
