#include "password.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>
#include <vector>

namespace herdgate::pcp_client {
namespace {

struct Column {
  std::string text;
  bool any = false;  // an unescaped '*' alone
};

std::vector<Column> columns_of(std::string_view line) {
  std::vector<Column> out(1);
  bool escaped = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    // The password is the rest of the line, so a colon in it need not be escaped.
    if (line[i] == ':' && out.size() < 4) {
      out.emplace_back();
      escaped = false;
    } else if (line[i] == '\\' && i + 1 < line.size()) {
      out.back().text.push_back(line[++i]);
      escaped = true;
    } else {
      out.back().text.push_back(line[i]);
    }
    out.back().any = out.back().text == "*" && !escaped;
  }
  return out;
}

std::string home_folder() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return home;
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_dir : "";
}

std::string read_whole(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0 && text.size() < kMaxPassFileBytes;)
    text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

// Echo is off while this lives.
class Silence {
 public:
  explicit Silence(int fd) : fd_(fd), works_(::tcgetattr(fd, &before_) == 0) {
    if (!works_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(fd_, TCSAFLUSH, &quiet);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    if (works_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
  }

 private:
  int fd_;
  termios before_{};
  bool works_;
};

}  // namespace

std::optional<std::string> find_password(std::string_view text, const PassKey& key) {
  const std::string host = key.host.empty() ? "localhost" : key.host;
  const std::string port = std::to_string(key.port);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const std::vector<Column> columns = columns_of(line);
    const auto fits = [&](std::size_t at, const std::string& wanted) {
      return columns[at].any || columns[at].text == wanted;
    };
    if (columns.size() == 4 && fits(0, host) && fits(1, port) && fits(2, key.user)) return columns[3].text;
  }
  return std::nullopt;
}

PassFile read_pass_file() {
  const char* named = std::getenv("PCPPASSFILE");
  const std::string path = named != nullptr && *named != '\0' ? named : home_folder() + "/.pcppass";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT) return {};
    return {"", fmt::format("WARNING: could not read password file \"{}\": {}\n", path,
                            std::generic_category().message(errno))};
  }
  PassFile out;
  struct stat about {};
  if (::fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
    out.warning = fmt::format("WARNING: password file \"{}\" is not a plain file\n", path);
  } else if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    out.warning = fmt::format(
        "WARNING: password file \"{}\" is not used: group or others have access, its mode should be 0600\n", path);
  } else {
    out.text = read_whole(fd);
  }
  ::close(fd);
  return out;
}

bool has_terminal() {
  const int fd = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

std::string ask_password() {
  int in = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), out = in;
  if (in < 0) in = STDIN_FILENO, out = STDERR_FILENO;
  std::string typed;
  {
    const Silence silence(in);
    (void)!::write(out, "Password: ", 10);
    char c = 0;
    while (typed.size() < kMaxPasswordBytes && ::read(in, &c, 1) == 1 && c != '\n') typed.push_back(c);
    (void)!::write(out, "\n", 1);
  }
  if (in != STDIN_FILENO) ::close(in);
  return typed;
}

}  // namespace herdgate::pcp_client
