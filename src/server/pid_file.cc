#include "server/pid_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
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
constexpr mode_t kPidFileMode = 0600;
constexpr int kMaxAttempts = 10;

std::string because(const std::string& path, int error) {
  return fmt::format("\"{}\": {}", path, std::generic_category().message(error));
}

bool is_named(int fd, const std::string& path) {
  struct stat open {
  }, named{};
  return ::fstat(fd, &open) == 0 && ::lstat(path.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

bool is_ours(int fd) {
  struct stat about {};
  return ::fstat(fd, &about) == 0 && about.st_uid == ::geteuid();
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

// With its lock in hand, for at any moment a server that starts may make it its own.
bool remove_left_pid_file(const std::string& path, pid_t pid) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool removed = false;
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
    const auto left = read_pid_file(path);
    removed = left && *left == pid && is_named(fd, path) && ::unlink(path.c_str()) == 0;
  }
  ::close(fd);
  return removed;
}

Result<PidFileFound> check_pid_file(const std::string& path) {
  HG_TRY(const std::optional<pid_t> pid, read_pid_file(path));
  if (!pid) return PidFileFound::none;
  // After a restart of the machine or the container our own number, or our parent's, may be the one in the file.
  if (*pid == ::getpid() || *pid == ::getppid() || !process_lives(*pid)) return PidFileFound::stale;
  return fail(Errc::pid_file_taken, std::to_string(*pid));
}

// The file under this name, locked for us. Of two servers that start at the same time one gets the lock; whoever ends
// removes his file with the lock in hand, so a file that was locked and has gone meanwhile was not the one.
Result<int> PidFile::lock(const std::string& path) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kPidFileMode);
    const int problem = fd < 0 ? errno : is_ours(fd) ? 0 : EACCES;
    if (problem != 0) {
      if (fd >= 0) ::close(fd);
      // A link, or somebody else's: perhaps it may be replaced, for no server of our user's has it.
      const bool foreign = problem == EACCES || problem == ELOOP;
      if (!foreign || ::unlink(path.c_str()) != 0) return fail(Errc::pid_file_unwritable, because(path, problem));
      continue;
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      ::close(fd);
      if (error == EWOULDBLOCK) return fail(Errc::pid_file_taken, fmt::format("\"{}\": its server runs", path));
      return fail(Errc::pid_file_unwritable, because(path, error));
    }
    if (is_named(fd, path)) return fd;
    ::close(fd);
  }
  return fail(Errc::pid_file_taken, fmt::format("\"{}\": others come and go", path));
}

Result<PidFile> PidFile::create(const std::string& path) {
  HG_TRY(const int fd, lock(path));
  PidFile file(std::filesystem::absolute(path).string(), fd);
  const std::string text = std::to_string(::getpid());
  const auto size = static_cast<ssize_t>(text.size()) + 1;
  errno = ENOSPC;
  const bool emptied = ::fchmod(fd, kPidFileMode) == 0 && ::ftruncate(fd, 0) == 0;
  if (emptied && ::pwrite(fd, text.c_str(), static_cast<std::size_t>(size), 0) == size) return file;
  const int error = errno;
  ::unlink(path.c_str());
  return fail(Errc::pid_file_unwritable, because(path, error));
}

PidFile::~PidFile() {
  if (fd_ < 0) return;
  const auto pid = read_pid_file(path_);
  if (pid && *pid == ::getpid() && is_named(fd_, path_)) ::unlink(path_.c_str());
  ::close(fd_);
}

}  // namespace herdgate::server
