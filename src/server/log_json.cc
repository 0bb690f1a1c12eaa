#include "server/log_json.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

namespace herdgate::server {
namespace {

constexpr std::array<JsonField, 21> kFields{{
    {"timestamp", "string", "When it was said: RFC 3339, UTC, with milliseconds"},
    {"pid", "number", "Process (%p)"},
    {"session_id", "number", "Number of the client's session; all lines of one session have the same"},
    {"backend_type", "string", "Name of the process that the original would have for this (%P)"},
    {"application_name", "string", "Application of the client, or who speaks (%a)"},
    {"user", "string", "User of the session (%u)"},
    {"dbname", "string", "Database of the session (%d)"},
    {"line_num", "number", "Counts the messages of a session or of a part of the server (%l)"},
    {"error_severity", "string", "DEBUG5 … DEBUG1, LOG, INFO, NOTICE, WARNING, ERROR, FATAL, PANIC"},
    {"state_code", "string", "SQLSTATE"},
    {"message", "string", "What happened"},
    {"detail", "string", "DETAIL"},
    {"hint", "string", "HINT"},
    {"internal_query", "string", "QUERY"},
    {"context", "string", "CONTEXT"},
    {"file_name", "string", "Place in the code; with log_error_verbosity = verbose"},
    {"file_line_num", "number", "The same: line"},
    {"traceparent", "string",
     "Trace context of the statement, from a sqlcommenter comment in front of it or behind it"},
    {"trace_id", "string", "Its part that names the trace"},
    {"span_id", "string", "Its part that names the client's span"},
    {"truncated", "true", "There when texts were cut because of their length"},
}};

std::string utc(WallTime said) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(said);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(said.time_since_epoch()).count() % 1000;
  std::tm tm{};
  ::gmtime_r(&seconds, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                     tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
}

bool continues(unsigned char octet) { return (octet & 0xC0) == 0x80; }

// Length of the well-formed UTF-8 character at the front; 0: there is none.
std::size_t character(std::string_view text) {
  const auto at = [text](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : static_cast<unsigned char>(0);
  };
  const unsigned char first = at(0), second = at(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(second) ? 2 : 0;
  if (!continues(second) || !continues(at(2))) return 0;
  if ((first & 0xF0) == 0xE0) {
    const bool overlong = first == 0xE0 && second < 0xA0, surrogate = first == 0xED && second > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  const bool fits =
      first >= 0xF0 && first <= 0xF4 && !(first == 0xF0 && second < 0x90) && !(first == 0xF4 && second > 0x8F);
  return fits && continues(at(3)) ? 4 : 0;
}

void append_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = character(text);
    const char c = text.front();
    if (size == 0) {
      out += "\xEF\xBF\xBD";
    } else if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
}

// One object in the making. The unit test holds its names against the table.
class Object {
 public:
  void text(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    if (value.size() > left_) {
      cut_ = true;
      while (left_ > 0 && continues(static_cast<unsigned char>(value[left_]))) --left_;
      value = value.substr(0, left_);
    }
    left_ -= value.size();
    key(name);
    out_ += '"';
    append_escaped(out_, value);
    out_ += '"';
  }
  void number(std::string_view name, std::uint64_t value) {
    key(name);
    out_ += std::to_string(value);
  }
  std::string end() {
    if (cut_) {
      key("truncated");
      out_ += "true";
    }
    return std::move(out_) + "}\n";
  }

 private:
  void key(std::string_view name) {
    out_ += out_.empty() ? "{\"" : ",\"";
    out_ += name;
    out_ += "\":";
  }
  std::string out_;
  std::size_t left_ = kMaxJsonText;
  bool cut_ = false;
};

std::string_view file_name(const char* path) {
  const std::string_view all = path;
  return all.substr(all.find_last_of('/') + 1);  // npos + 1 is 0
}

// "00-" 32 digits "-" 16 digits "-" 2 digits
void trace(Object& object, std::string_view parent) {
  object.text("traceparent", parent);
  object.text("trace_id", parent.substr(std::min<std::size_t>(3, parent.size()), 32));
  object.text("span_id", parent.substr(std::min<std::size_t>(36, parent.size()), 16));
}

}  // namespace

std::span<const JsonField> json_fields() { return kFields; }

std::string json_document() {
  std::string out =
      "<!-- Generated by herdgate_generate from the table in src/server/log_json.cc; do not edit. -->\n"
      "# jsonlog\n\n"
      "With `jsonlog` in `log_destination` each message is one JSON object on a line of its own: in a file beside the "
      "plain one with\n`.json` in the place of `.log` when logging_collector is on, and to stderr otherwise. A field "
      "without a value is left out.\nlog_error_verbosity decides as for plain lines: `terse` leaves out detail, hint, "
      "internal_query and context.\n\n| field | type | meaning |\n|---|---|---|\n";
  for (const JsonField& field : kFields)
    out += fmt::format("| {} | {} | {} |\n", field.name, field.type, field.meaning);
  return out;
}

std::string format_json(const JsonFacts& facts, const LogContext& who, const LogLine& line) {
  Object object;
  object.text("timestamp", utc(facts.said));
  object.number("pid", static_cast<std::uint64_t>(facts.pid));
  if (who.session != 0) object.number("session_id", who.session);
  object.text("backend_type", who.process);
  object.text("application_name", who.application);
  object.text("user", who.user);
  object.text("dbname", who.database);
  object.number("line_num", who.lines);
  object.text("error_severity", level_name(line.level));
  object.text("state_code", line.sqlstate);
  // Short and worth more than the rest of a long text.
  if (!who.trace.empty()) trace(object, who.trace);
  object.text("message", line.text);
  if (facts.verbosity != Verbosity::terse) {
    object.text("detail", line.detail);
    object.text("hint", line.hint);
    object.text("internal_query", line.query);
    object.text("context", line.context);
  }
  if (facts.verbosity == Verbosity::verbose && line.file != nullptr) {
    object.text("file_name", file_name(line.file));
    if (line.line > 0) object.number("file_line_num", static_cast<std::uint64_t>(line.line));
  }
  return object.end();
}

}  // namespace herdgate::server
