#include "server/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "auth/stored_secret.h"
#include "config/errc.h"

namespace herdgate::server {
namespace {

using config::Finding;
using config::Severity;

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error);
  return error ? path : full.string();
}

// The configuration folder: etc beside the bin this program lies in, so that an installation may be moved; else the one
// known when it was built.
std::string configuration_folder() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto etc = program.parent_path().parent_path() / "etc";
  if (!error && std::filesystem::is_directory(etc, error)) return etc.string();
  return HERDGATE_SYSCONFDIR;
}

template <class Findings>
void add(std::vector<Finding>& to, const Findings& from) {
  to.insert(to.end(), from.begin(), from.end());
}

bool missing(const std::string& path) { return ::access(path.c_str(), F_OK) != 0 && errno == ENOENT; }

void read_hba(const FilePaths& paths, FilesRead& out) {
  const bool needed = out.files.settings->enable_pool_hba;
  if (paths.hba.empty() || (!needed && !paths.hba_anyway)) return;
  const auto text = read_file(paths.hba);
  const Severity severity = needed ? Severity::error : Severity::warning;
  if (!text) return out.findings.push_back({severity, {}, 0, text.error().text()});
  auto loaded = std::make_shared<config::HbaLoaded>(config::parse_hba(*text, paths.hba));
  add(out.findings, loaded->findings);
  if (needed) out.files.hba = std::move(loaded);
}

// A pool_passwd that does not exist is an empty one: pg_md5 -m makes it when the first user is entered. One that has
// been there is missed. Another name is in force after a restart only.
void read_passwords(FilesRead& out, const Files* before) {
  auto passwords = std::make_shared<config::PasswordFile>();
  const config::Settings& named = before != nullptr ? *before->settings : *out.files.settings;
  const std::string name = named.pool_passwd;
  const std::string path = named.beside_config(name);
  const bool missed = before != nullptr && before->has_passwords;
  if (!name.empty() && (missed || !missing(path))) {
    if (const auto text = read_file(path)) {
      out.files.has_passwords = true;
      *passwords = config::parse_pool_passwd(*text, path);
      add(out.findings, passwords->findings);
    } else {
      out.findings.push_back({Severity::error, {}, 0, text.error().text()});
    }
  }
  out.files.passwords = std::move(passwords);
}

void read_pcp(const FilePaths& paths, FilesRead& out) {
  if (missing(paths.pcp)) return;
  if (const auto text = read_file(paths.pcp)) {
    add(out.findings, config::parse_pcp_conf(*text, paths.pcp).findings);
  } else {
    out.findings.push_back({Severity::warning, {}, 0, text.error().text()});
  }
}

bool is_encrypted(const std::string& password) {
  const auto stored = auth::parse_stored(password);
  return stored && stored->kind == auth::StoredSecret::Kind::aes;
}

bool key_is_needed(const Files& files) {
  const config::Settings& settings = *files.settings;
  const bool by_checks = std::ranges::any_of(settings.backends, [&](const config::Backend& node) {
    return is_encrypted(settings.health_check(node.id).health_check_password);
  });
  return by_checks || is_encrypted(settings.sr_check_password) || is_encrypted(settings.recovery_password) ||
         is_encrypted(settings.auth_query_password) ||
         std::ranges::count(files.passwords->entries, config::SecretKind::aes, &config::PasswordEntry::kind) > 0;
}

void read_key(const FilePaths& paths, FilesRead& out, const Files* before) {
  const bool missed = before != nullptr && before->key && key_is_needed(out.files);
  if (paths.key.empty() || (missing(paths.key) && !paths.key_given && !missed)) return;
  auto read = auth::read_key_file(paths.key);
  const Severity severity = missed ? Severity::error : Severity::warning;
  if (!read) return out.findings.push_back({severity, paths.key, 0, read.error().text()});
  if (!read->warning.empty()) out.findings.push_back({Severity::warning, paths.key, 0, read->warning});
  out.files.key = std::move(read->key);
}

// What can let nobody in is told now, not at that user's login.
void check_passwords(FilesRead& out) {
  constexpr std::size_t kMostTold = 20;
  const std::size_t before = out.findings.size();
  for (const config::PasswordEntry& entry : out.files.passwords->entries) {
    if (out.findings.size() - before >= kMostTold) return;
    const auto warn = [&](std::string_view what) {
      out.findings.push_back(
          {Severity::warning, {}, 0, fmt::format("pool_passwd: the password of \"{}\" {}", entry.user, what)});
    };
    if (entry.value.empty()) warn("is empty");
    if (entry.kind == config::SecretKind::scram_verifier && !auth::parse_stored(entry.value))
      warn("is no complete SCRAM-SHA-256 verifier");
    if (entry.kind != config::SecretKind::aes || entry.value.empty()) continue;
    const auth::StoredSecret stored{auth::StoredSecret::Kind::aes, auth::Secret(entry.value)};
    if (!out.files.key) {
      warn("is encrypted and there is no key file: name it by -k or PGPOOLKEYFILE");
    } else if (!auth::unlock(stored, out.files.key)) {
      warn("could not be decrypted with the key file: encrypt it again with pg_enc");
    }
  }
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const auto because = [&](int error) {
    return fmt::format("\"{}\": {}", path, std::generic_category().message(error));
  };
  if (fd < 0) return fail(config::Errc::unreadable, because(errno));
  std::string text;
  std::array<char, 65536> buffer;
  ssize_t got;
  while ((got = ::read(fd, buffer.data(), buffer.size())) > 0 && text.size() <= config::kMaxConfigBytes)
    text.append(buffer.data(), static_cast<std::size_t>(got));
  const int error = errno;
  ::close(fd);
  if (got < 0) return fail(config::Errc::unreadable, because(error));
  if (text.size() > config::kMaxConfigBytes)
    return fail(config::Errc::unreadable, fmt::format("\"{}\" is larger than {} bytes", path, config::kMaxConfigBytes));
  return text;
}

FilePaths locate(const CommandLine& line) {
  const std::string folder = configuration_folder();
  const auto choose = [&](const std::string& given, const char* name) {
    return given.empty() ? folder + "/" + name : absolute(given);
  };
  FilePaths paths;
  paths.config = choose(line.config_file, "pgpool.conf");
  paths.hba = choose(line.hba_file, "pool_hba.conf");
  paths.pcp = choose(line.pcp_file, "pcp.conf");
  const char* from_environment = std::getenv("PGPOOLKEYFILE");
  paths.key = line.key_file.empty() ? auth::key_file_path(from_environment, std::getenv("HOME")) : line.key_file;
  paths.key_given = !line.key_file.empty() || (from_environment != nullptr && *from_environment != '\0');
  if (!paths.key.empty()) paths.key = absolute(paths.key);
  return paths;
}

bool FilesRead::has_errors() const {
  return std::ranges::any_of(findings, [](const Finding& f) { return f.severity == Severity::error; });
}

FilesRead read_files(const FilePaths& paths, const config::LoadOptions& options, const Files* before) {
  FilesRead out;
  config::Loaded loaded = config::load(paths.config, read_file, options);
  out.findings = std::move(loaded.findings);
  out.files.settings = std::make_shared<const config::Settings>(std::move(loaded.settings));
  read_hba(paths, out);
  read_passwords(out, before);
  read_pcp(paths, out);
  read_key(paths, out, before);
  check_passwords(out);
  return out;
}

LogSettings log_settings(const config::Settings& settings) {
  LogSettings log;
  log.to_stderr = settings.logs_to("stderr");
  log.to_syslog = settings.logs_to("syslog");
  log.to_json = settings.logs_to("jsonlog");
  log.prefix = settings.log_line_prefix;
  log.verbosity = settings.log_error_verbosity;
  constexpr int kLocal0 = 16;
  log.syslog_facility = kLocal0 + static_cast<int>(settings.syslog_facility);
  log.syslog_ident = settings.syslog_ident;
  log.threshold = settings.log_min_messages;
  log.collect = settings.logging_collector;
  // Absolute, because going into the background changes the working folder.
  log.rotation.directory = absolute(settings.beside_config(settings.log_directory));
  log.rotation.filename = settings.log_filename;
  log.rotation.mode = static_cast<unsigned>(settings.log_file_mode);
  log.rotation.age = settings.log_rotation_age;
  log.rotation.size_bytes = static_cast<std::uint64_t>(settings.log_rotation_size) * 1024;
  log.rotation.truncate = settings.log_truncate_on_rotation;
  return log;
}

Level level_of(Severity severity) {
  switch (severity) {
    case Severity::info:
      return Level::info;
    case Severity::warning:
      return Level::warning;
    case Severity::error:
      return Level::error;
  }
  return Level::error;
}

std::string finding_text(const Finding& finding) {
  const std::string where = finding.where();
  return where.empty() ? finding.text : where + ": " + finding.text;
}

}  // namespace herdgate::server
