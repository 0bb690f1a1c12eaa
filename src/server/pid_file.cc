#include "server/pid_file.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "server/errc.h"

namespace herdgate::server {
namespace {

constexpr std::size_t kMaxPidFileBytes = 32;

std::string because(const std::string& path, int error) {
  return fmt::format("\"{}\": {}", path, std::generic_category().message(error));
}

// 'Z' when it has ended and only waits for its parent to notice.
char process_state(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= text.size() ? '?' : text[name_end + 2];
}

}  // namespace

Result<std::optional<pid_t>> read_pid_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::optional<pid_t>{};
  if (fd < 0) return fail(Errc::pid_file_unreadable, because(path, errno));
  std::array<char, kMaxPidFileBytes> text{};
  const ssize_t got = ::read(fd, text.data(), text.size());
  const int error = errno;
  ::close(fd);
  if (got < 0) return fail(Errc::pid_file_unreadable, because(path, error));
  pid_t pid = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + got, pid);
  const bool ends = end == text.data() + got || *end == '\0' || *end == '\n';
  if (problem != std::errc{} || pid <= 0 || !ends)
    return fail(Errc::pid_file_unreadable, fmt::format("\"{}\" holds no process id", path));
  return std::optional<pid_t>{pid};
}

bool process_lives(pid_t pid) {
  if (::kill(pid, 0) != 0 && errno == ESRCH) return false;
  return process_state(pid) != 'Z';
}

Result<PidFileFound> check_pid_file(const std::string& path) {
  HG_TRY(const std::optional<pid_t> pid, read_pid_file(path));
  if (!pid) return PidFileFound::none;
  // After a restart of the machine or the container our own number, or our parent's, may be the one in the file.
  if (*pid == ::getpid() || *pid == ::getppid() || !process_lives(*pid)) return PidFileFound::stale;
  return fail(Errc::pid_file_taken, std::to_string(*pid));
}

Result<PidFile> PidFile::create(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail(Errc::pid_file_unwritable, because(path, errno));
  // Exclusive: of two servers that start at the same time, one fails here.
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Errc::pid_file_unwritable, because(path, errno));
  PidFile file(std::filesystem::absolute(path).string());
  const std::string text = std::to_string(::getpid());
  const auto size = static_cast<ssize_t>(text.size()) + 1;
  const ssize_t put = ::write(fd, text.c_str(), static_cast<std::size_t>(size));
  const int error = put < 0 ? errno : ENOSPC;
  ::close(fd);
  if (put == size) return file;
  ::unlink(path.c_str());
  return fail(Errc::pid_file_unwritable, because(path, error));
}

PidFile::~PidFile() {
  if (path_.empty()) return;
  const auto pid = read_pid_file(path_);
  if (pid && *pid == ::getpid()) ::unlink(path_.c_str());
}

}  // namespace herdgate::server
