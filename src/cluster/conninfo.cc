#include "cluster/conninfo.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace herdgate::cluster {
namespace {

using Settings = std::vector<ConnSetting>;

bool blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

auto refused(const std::string& why) { return fail(Errc::conninfo_not_understood, why); }

bool is_name(const std::string& key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0;
  });
}

// Takes a text apart from its front.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  bool end() const { return rest_.empty(); }
  char next() const { return rest_.empty() ? '\0' : rest_.front(); }
  char take() {
    const char c = next();
    if (!rest_.empty()) rest_.remove_prefix(1);
    return c;
  }
  bool take(char c) {
    if (next() != c) return false;
    take();
    return true;
  }
  std::string_view until(std::string_view marks) {
    const std::string_view out = rest_.substr(0, rest_.find_first_of(marks));
    rest_.remove_prefix(out.size());
    return out;
  }
  void skip_blanks() {
    while (!end() && blank(next())) take();
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

// ---- key = value

// A backslash makes the next character an ordinary one, inside quotes and outside.
Result<std::string> value_of(Reader& in, const std::string& key) {
  std::string value;
  const bool quoted = in.take('\'');
  while (!in.end() && (quoted ? in.next() != '\'' : !blank(in.next()))) {
    const bool escaped = in.take('\\');
    if (escaped && in.end()) break;
    value += in.take();
  }
  if (quoted && !in.take('\'')) return refused(fmt::format("the quoted value of setting {} does not end", key));
  return value;
}

Result<Settings> parse_pairs(std::string_view text) {
  Settings settings;
  Reader in(text);
  for (in.skip_blanks(); !in.end(); in.skip_blanks()) {
    std::string key;
    while (!in.end() && in.next() != '=' && !blank(in.next())) key += in.take();
    in.skip_blanks();
    const auto number = std::to_string(settings.size() + 1);
    if (!is_name(key) || !in.take('=')) return refused("setting " + number + " is not of the form key=value");
    in.skip_blanks();
    HG_TRY(std::string value, value_of(in, number));
    settings.push_back({std::move(key), std::move(value)});
  }
  return settings;
}

// ---- postgresql://user:password@host:port,host:port/database?key=value&…

std::string_view without_scheme(std::string_view text) {
  for (const std::string_view scheme : {"postgresql://", "postgres://"})
    if (text.starts_with(scheme)) return text.substr(scheme.size());
  return {};
}

bool is_uri(std::string_view text) { return text.starts_with("postgresql://") || text.starts_with("postgres://"); }

Result<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string_view digits = text.substr(i + 1, 2);
    unsigned octet = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), octet, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2)
      return refused("a % in the URI is not followed by two hexadecimal digits");
    if (octet == 0) return refused("%00 is not allowed in the URI");
    out += static_cast<char>(octet);
    i += 2;
  }
  return out;
}

Result<Done> store(Settings& settings, std::string key, std::string_view raw) {
  if (raw.empty()) return Done{};
  HG_TRY(std::string value, decoded(raw));
  settings.push_back({std::move(key), std::move(value)});
  return Done{};
}

// What stands before an @, if one comes before the first slash.
Result<Done> read_user(Reader& in, Settings& settings) {
  const std::string_view ahead = in.rest().substr(0, in.rest().find_first_of("@/"));
  if (ahead.size() == in.rest().size() || in.rest()[ahead.size()] != '@') return Done{};
  HG_CHECK(store(settings, "user", in.until(":@")));
  if (in.take(':')) HG_CHECK(store(settings, "password", in.until("@")));
  in.take('@');
  return Done{};
}

Result<std::string_view> read_host(Reader& in) {
  if (!in.take('[')) return in.until(":/?,");
  const std::string_view host = in.until("]");
  if (!in.take(']')) return refused("a [ in the URI has no ]");
  if (host.empty()) return refused("an IPv6 address in the URI is empty");
  if (!in.end() && std::string_view(":/?,").find(in.next()) == std::string_view::npos)
    return refused("something else than a port follows an IPv6 address in the URI");
  return host;
}

Result<Done> read_places(Reader& in, Settings& settings) {
  std::string hosts, ports;
  for (bool more = true; more;) {
    HG_TRY(const std::string_view host, read_host(in));
    hosts += host;
    if (in.take(':')) ports += in.until("/?,");
    more = in.take(',');
    if (more) hosts += ',', ports += ',';
  }
  HG_CHECK(store(settings, "host", hosts));
  return store(settings, "port", ports);
}

Result<Done> read_parameters(Reader& in, Settings& settings) {
  while (!in.end()) {
    const std::string_view pair = in.until("&");
    in.take('&');
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || pair.find('=', equals + 1) != std::string_view::npos)
      return refused("a parameter behind the ? of the URI is not of the form key=value");
    HG_TRY(std::string key, decoded(pair.substr(0, equals)));
    HG_TRY(std::string value, decoded(pair.substr(equals + 1)));
    if (!is_name(key)) return refused("a parameter behind the ? of the URI has no name");
    if (key == "ssl" && value == "true") key = "sslmode", value = "require";  // as JDBC writes it
    settings.push_back({std::move(key), std::move(value)});
  }
  return Done{};
}

Result<Settings> parse_uri(std::string_view text) {
  Settings settings;
  Reader in(without_scheme(text));
  HG_CHECK(read_user(in, settings));
  HG_CHECK(read_places(in, settings));
  if (in.take('/')) HG_CHECK(store(settings, "dbname", in.until("?")));
  in.take('?');
  HG_CHECK(read_parameters(in, settings));
  return settings;
}

// ---- writing

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

bool plain(const std::string& value) {
  constexpr std::string_view kPlain = "_-.,:/";
  return !value.empty() && std::all_of(value.begin(), value.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kPlain.find(c) != std::string_view::npos;
  });
}

}  // namespace

Result<Settings> parse_conninfo(std::string_view text) { return is_uri(text) ? parse_uri(text) : parse_pairs(text); }

std::string print_conninfo(const Settings& settings) {
  std::string out;
  for (const ConnSetting& s : settings)
    out += fmt::format("{}{}={}", out.empty() ? "" : " ", s.key, plain(s.value) ? s.value : quoted(s.value));
  return out;
}

Result<std::string> repoint(std::string_view conninfo, const std::string& host, int port,
                            const std::string& application_name) {
  HG_TRY(Settings settings, parse_conninfo(conninfo));
  const bool renamed = !application_name.empty();
  std::erase_if(settings, [&](const ConnSetting& s) {
    return s.key == "host" || s.key == "hostaddr" || s.key == "port" || (renamed && s.key == "application_name");
  });
  if (renamed) settings.push_back({"application_name", application_name});
  settings.push_back({"host", host});
  settings.push_back({"port", std::to_string(port)});
  return print_conninfo(settings);
}

std::string stopped_conninfo(std::string_view conninfo) {
  return std::string(kStoppedMark) + running_conninfo(conninfo);
}

std::string running_conninfo(std::string_view conninfo) {
  while (conninfo.starts_with(kStoppedMark)) conninfo.remove_prefix(kStoppedMark.size());
  return std::string(conninfo);
}

}  // namespace herdgate::cluster
