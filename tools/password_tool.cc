#include "password_tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "config/load.h"
#include "config/password_file.h"

namespace herdgate::tools {

HG_DEFINE_ERRC(Errc, "tools", "success", "stdin is not tty", "nothing usable was typed",
               "pool_passwd is not configured", "the file belongs to another user, who or root must change it",
               "the file belongs to a group that this user is not in, root must change it",
               "the name of the user is empty")

namespace {

constexpr char kControlC = '\x03';
constexpr mode_t kNewFileMode = 0600;

tl::unexpected<Error> system_failure(const std::string& path) {
  return fail(std::error_code(errno, std::generic_category()), path);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }

 private:
  int fd_;
};

// No echo, and control-C is an ordinary character, so that the terminal is always set back.
class QuietTerminal {
 public:
  QuietTerminal() {
    tcgetattr(STDIN_FILENO, &before_);
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;
  ~QuietTerminal() { tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_); }

 private:
  termios before_{};
};

Result<std::string> read_file(const std::string& path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) return system_failure(path);
  if (S_ISDIR(about.st_mode)) return fail(std::make_error_code(std::errc::is_a_directory), path);
  std::ifstream file(path, std::ios::binary);
  if (!file) return system_failure(path);
  if (static_cast<std::size_t>(about.st_size) > config::kMaxConfigBytes) {
    return fail(std::make_error_code(std::errc::file_too_large), path);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Behind a symbolic link the file itself is replaced, not the link.
std::string real_path(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

Result<Done> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_failure(path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return fsync(fd) == 0 ? Result<Done>(Done{}) : Result<Done>(system_failure(path));
}

// The server reads its file as owner or by its group, so both stay. Only root may give files away, and to any group.
Result<Done> keep_owner(int fd, const struct stat& before, const std::string& path) {
  struct stat now {};
  if (fstat(fd, &now) != 0) return system_failure(path);
  if (now.st_uid == before.st_uid && now.st_gid == before.st_gid) return Done{};
  if (now.st_uid != before.st_uid && geteuid() != 0) return fail(Errc::of_another_user, path);
  if (fchown(fd, before.st_uid, before.st_gid) == 0) return Done{};
  return errno == EPERM ? Result<Done>(fail(Errc::of_another_group, path)) : Result<Done>(system_failure(path));
}

// Whoever reads the file meanwhile sees the old one or the new one, never a half.
Result<Done> replace_file(const std::string& path, std::string_view text, const struct stat* before) {
  std::string name = path + ".XXXXXX";
  const Descriptor fd(mkstemp(name.data()));
  if (!fd.open()) return system_failure(path);
  Result<Done> done = write_all(fd.get(), text, name);
  if (done && before != nullptr) done = keep_owner(fd.get(), *before, path);
  if (done && fchmod(fd.get(), before != nullptr ? before->st_mode & 07777 : kNewFileMode) != 0) {
    done = system_failure(name);
  }
  if (done && rename(name.c_str(), path.c_str()) != 0) done = system_failure(path);
  if (!done) unlink(name.c_str());
  return done;
}

Result<std::string> pool_passwd_path(const std::string& config_file) {
  HG_CHECK(read_file(config_file).map([](const std::string&) { return Done{}; }));
  const config::Loaded loaded = config::load(config_file, read_file);
  for (const config::Finding& finding : loaded.findings) {
    if (finding.severity != config::Severity::error) continue;
    fmt::print(stderr, "WARNING: {}: {}\n", finding.where(), finding.text);
  }
  if (loaded.settings.pool_passwd.empty()) {
    return fail(Errc::no_pool_passwd, config_file);
  }
  return real_path(loaded.settings.beside_config(loaded.settings.pool_passwd));
}

Result<Done> read_pair(std::string_view line, int number, const OnPair& on_pair) {
  if (line.empty()) {
    fmt::print("LINE#{:02}: BLANK LINE\n", number);
    return Done{};
  }
  const std::size_t colon = line.find(':');
  const bool whole = colon != std::string_view::npos && colon > 0 && colon + 1 < line.size();
  if (line.size() > kMaxLineBytes || !whole || line.find('\0') != std::string_view::npos) {
    fmt::print("LINE#{:02}: Invalid username:password pair\n", number);
    return Done{};
  }
  const std::string user(line.substr(0, colon));
  fmt::print("LINE#{:02}: USER: {}\n", number, user);
  const auto done = on_pair(user, line.substr(colon + 1));
  if (!done) fmt::print("LINE#{:02}: {}\n", number, done.error().text());
  return Done{};
}

Result<std::string> operating_system_user() {
  errno = 0;
  const passwd* entry = getpwuid(geteuid());
  if (entry == nullptr) return system_failure("could not find out the operating system user");
  return std::string(entry->pw_name);
}

}  // namespace

void take_option(int c, PasswordOptions& out) {
  switch (c) {
    case 'p':
      out.prompt = true;
      break;
    case 'm':
      out.store = true;
      break;
    case 'u':
      out.user = optarg;
      out.user_given = true;
      break;
    case 'f':
      out.config_file = optarg;
      break;
    case 'i':
      out.input_file = optarg;
      break;
    case 'h':
      out.help = true;
      break;
    default:
      out.wrong = true;
      break;
  }
}

void take_argument(int argc, char** argv, PasswordOptions& out) {
  if (optind < argc) out.password = argv[optind++];
  const int sources = (out.prompt ? 1 : 0) + (out.input_file.empty() ? 0 : 1) + (out.password.empty() ? 0 : 1);
  out.wrong = out.wrong || sources != 1 || optind < argc;
}

Result<auth::Secret> ask(const char* prompt) {
  if (isatty(STDIN_FILENO) == 0) {
    return fail(Errc::not_a_terminal);
  }
  fmt::print("{}", prompt);
  std::fflush(stdout);
  char line[kMaxLineBytes];
  char* got = nullptr;
  {
    const QuietTerminal quiet;
    got = std::fgets(line, sizeof line, stdin);
  }
  fmt::print("\n");
  std::string text(got != nullptr ? line : "");
  auth::wipe(line, sizeof line);
  const bool whole = text.ends_with('\n');
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  const bool refused =
      text.empty() || text.find(kControlC) != std::string::npos || (!whole && text.size() + 1 >= kMaxLineBytes);
  auth::Secret secret(std::move(text));
  if (refused) return fail(Errc::nothing_typed);
  return secret;
}

Result<Done> read_pairs(const std::string& path, const OnPair& on_pair) {
  fmt::print("trying to read username:password pairs from file {}\n", path);
  HG_TRY(std::string text, read_file(path));
  std::string_view rest = text;
  for (int number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    HG_CHECK(read_pair(line, number, on_pair));
  }
  auth::wipe(text);
  return Done{};
}

Result<Done> store(const std::string& config_file, const std::string& user, const std::string& secret) {
  HG_TRY(const std::string path, pool_passwd_path(config_file));
  // Two of us at the same time must not lose a line: the folder is the lock, since the file itself gets replaced.
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const Descriptor lock(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.open()) return system_failure(folder);
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return system_failure(folder);
  }
  struct stat about {};
  const bool exists = stat(path.c_str(), &about) == 0;
  if (!exists && errno != ENOENT) return system_failure(path);
  std::string text;
  if (exists) {
    HG_TRY(text, read_file(path));
  }
  HG_TRY(const std::string updated, config::update_pool_passwd(text, user, secret));
  return replace_file(path, updated, exists ? &about : nullptr);
}

Result<Done> each_password(const PasswordOptions& options, const char* prompt, const OnPair& on_pair) {
  if (!options.input_file.empty()) return read_pairs(options.input_file, on_pair);
  std::string user = options.user;
  if (options.store && user.empty()) {
    if (options.user_given) return fail(Errc::no_user);
    HG_TRY(user, operating_system_user());
  }
  if (!options.prompt) return on_pair(user, options.password);
  HG_TRY(const auth::Secret typed, ask(prompt));
  return on_pair(user, typed.view());
}

std::string default_config_file() { return std::string(HERDGATE_SYSCONFDIR) + "/pgpool.conf"; }

int run_tool(const PasswordOptions& options, std::string_view usage, const std::function<Result<Done>()>& run) {
  if (options.help || options.wrong) {
    fmt::print(options.help ? stdout : stderr, "{}", usage);
    return options.help ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  const Result<Done> done = run();
  if (done) return EXIT_SUCCESS;
  fmt::print(stderr, "{}\n", done.error().text());
  return EXIT_FAILURE;
}

}  // namespace herdgate::tools
