#include "config/password_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/errc.h"
#include "config/findings.h"

namespace herdgate::config {
namespace {

bool is_hex_md5(std::string_view text) {
  return text.size() == 32 && std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c); });
}

std::string_view without_cr(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Columns between colons; a backslash takes the next character as it is.
std::vector<std::string> split_columns(std::string_view line) {
  std::vector<std::string> columns(1);
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) {
      columns.back().push_back(line[++i]);
    } else if (line[i] == ':') {
      columns.emplace_back();
    } else {
      columns.back().push_back(line[i]);
    }
  }
  return columns;
}

// A SCRAM verifier has a colon of its own in front of the salt and of the server key, unescaped in the file:
// SCRAM-SHA-256$4096:salt$stored:server. Its columns are put together again.
void rejoin_verifier(std::vector<std::string>& columns) {
  if (columns.size() < 4 || !columns[1].starts_with("SCRAM-SHA-256$")) return;
  columns[1] += ":" + columns[2] + ":" + columns[3];
  columns.erase(columns.begin() + 2, columns.begin() + 4);
}

Result<PasswordEntry> parse_entry(std::string_view line) {
  std::vector<std::string> columns = split_columns(line);
  rejoin_verifier(columns);
  const auto bad = [](std::string reason) { return fail(Errc::bad_entry, std::move(reason)); };
  if (columns.size() != 2 && columns.size() != 4)
    return bad("a line has the form user:password or user:password:backenduser:backendpassword");
  if (columns[0].empty()) return bad("the user is missing");
  if (columns[0].size() > kMaxUserBytes) return bad(fmt::format("the user is longer than {} bytes", kMaxUserBytes));
  PasswordEntry entry;
  Secret secret = classify_secret(columns[1]);
  const bool encoded = secret.kind == SecretKind::aes || secret.kind == SecretKind::scram_verifier;
  const std::size_t limit = encoded ? kMaxSecretBytes : kMaxPasswordBytes;
  if (secret.value.size() > limit) return bad(fmt::format("the password is longer than {} bytes", limit));
  entry.user = std::move(columns[0]);
  entry.kind = secret.kind;
  entry.value = std::move(secret.value);
  if (columns.size() == 4) entry.backend_user = std::move(columns[2]);
  return entry;
}

// Calls read(line, number) for each line that is not empty or a comment; it returns Result<Done>.
template <class Read>
std::vector<Finding> each_entry(std::string_view text, const std::string& path, Read read) {
  Findings findings;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = without_cr(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t") == std::string_view::npos || line.front() == '#') continue;
    Result<Done> done = line.find('\0') == std::string_view::npos
                            ? read(line)
                            : Result<Done>(fail(Errc::bad_entry, "the line contains a zero byte"));
    if (!done) findings.add({Severity::warning, path, number, done.error().text()});
  }
  return findings.take(path);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == ':') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

}  // namespace

Secret classify_secret(std::string_view text) {
  if (text.starts_with("md5") && is_hex_md5(text.substr(3))) {
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return {SecretKind::md5, std::move(lower)};
  }
  if (text.starts_with("AES")) return {SecretKind::aes, std::string(text.substr(3))};
  if (text.starts_with("TEXT")) return {SecretKind::text, std::string(text.substr(4))};
  if (text.starts_with("SCRAM-SHA-256$")) return {SecretKind::scram_verifier, std::string(text)};
  return {SecretKind::plain, std::string(text)};
}

const PasswordEntry* PasswordFile::find_user(std::string_view user) const {
  const auto at = std::ranges::find(entries, user, &PasswordEntry::user);
  return at == entries.end() ? nullptr : &*at;
}

PasswordFile parse_pool_passwd(std::string_view text, const std::string& path) {
  PasswordFile file;
  file.findings = each_entry(text, path, [&](std::string_view line) -> Result<Done> {
    HG_TRY(PasswordEntry entry, parse_entry(line));
    const bool mapped = !entry.backend_user.empty();
    file.entries.push_back(std::move(entry));
    if (!mapped) return Done{};
    // The entry counts all the same; the finding is a warning.
    return fail(Errc::bad_entry,
                "backend user and password have no effect, servers are logged in to as the client's user");
  });
  return file;
}

Result<std::string> update_pool_passwd(std::string_view text, std::string_view user, std::string_view secret) {
  const auto bad = [](std::string reason) { return fail(Errc::bad_entry, std::move(reason)); };
  constexpr std::string_view kBreaks("\n\r\0", 3);
  if (user.empty() || user.front() == '#') return bad("the user is missing or starts with #");
  if (user.size() > kMaxUserBytes) return bad(fmt::format("the user is longer than {} bytes", kMaxUserBytes));
  if (user.find_first_of(kBreaks) != user.npos || secret.find_first_of(kBreaks) != secret.npos)
    return bad("a user or password must not contain a line break or a zero byte");
  // The secret's own columns are not escaped when it is a verifier: other programs read it as it stands.
  const bool verifier = classify_secret(secret).kind == SecretKind::scram_verifier;
  const std::string line = fmt::format("{}:{}\n", escaped(user), verifier ? std::string(secret) : escaped(secret));
  std::string out;
  bool written = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view old = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool same = !old.starts_with('#') && split_columns(without_cr(old))[0] == user;
    if (!same) {
      out.append(old).push_back('\n');
    } else if (!written) {
      out += line;
      written = true;
    }
  }
  if (!written) out += line;
  return out;
}

const PcpUser* PcpFile::find_user(std::string_view user) const {
  const auto at = std::ranges::find(users, user, &PcpUser::user);
  return at == users.end() ? nullptr : &*at;
}

PcpFile parse_pcp_conf(std::string_view text, const std::string& path) {
  PcpFile file;
  file.findings = each_entry(text, path, [&](std::string_view line) -> Result<Done> {
    while (line.ends_with(' ') || line.ends_with('\t')) line.remove_suffix(1);
    const std::size_t colon = line.find(':');
    PcpUser user;
    if (colon != std::string_view::npos)
      user = {std::string(line.substr(0, colon)), std::string(line.substr(colon + 1))};
    if (user.user.empty() || user.user.size() > kMaxUserBytes || !is_hex_md5(user.md5))
      return fail(Errc::bad_entry, "a line has the form user:md5, with 32 hexadecimal digits");
    for (char& c : user.md5) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    file.users.push_back(std::move(user));
    return Done{};
  });
  return file;
}

}  // namespace herdgate::config
