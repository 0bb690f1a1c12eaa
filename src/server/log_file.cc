#include "server/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "server/errc.h"

namespace herdgate::server {
namespace {

constexpr unsigned kOwnerWrites = 0200;  // always on, or nobody could write the file

std::string reason(int number) { return std::system_category().message(number); }

// A link at its end is followed only where root or we have made it: in a folder that others may write to (as /tmp, the
// default's) somebody else's would have us write to, and change the mode of, any file of ours.
int open_log(const std::string& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_NOFOLLOW, mode);
  if (fd >= 0 || errno != ELOOP) return fd;
  struct stat link {};
  const bool trusted = ::lstat(path.c_str(), &link) == 0 && (link.st_uid == 0 || link.st_uid == ::geteuid());
  if (trusted) return ::open(path.c_str(), flags, mode);
  errno = EPERM;
  return -1;
}

}  // namespace

LogFile::~LogFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Done> LogFile::begin(const std::string& path, unsigned mode, bool emptied) {
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (emptied ? O_TRUNC : 0);
  const int fd = open_log(path, flags, static_cast<mode_t>(mode | kOwnerWrites));
  if (fd < 0) return fail(Error{std::error_code(errno, std::system_category()), path});
  // Whatever the umask, and for a file that was there already.
  (void)::fchmod(fd, static_cast<mode_t>((mode | kOwnerWrites) & 0777));
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  path_ = path;
  trouble_.clear();
  removed();
  return Done{};
}

bool LogFile::removed() {
  struct stat about {};
  if (fd_ < 0 || ::fstat(fd_, &about) != 0) return true;
  size_ = static_cast<std::uint64_t>(about.st_size);
  return about.st_nlink == 0;
}

// Octets taken; fewer than given with trouble_ set.
std::size_t LogFile::put(std::string_view chunk) {
  std::size_t taken = 0;
  while (taken < chunk.size()) {
    const ssize_t put = ::write(fd_, chunk.data() + taken, chunk.size() - taken);
    if (put > 0) taken += static_cast<std::size_t>(put);
    if (put >= 0 || errno == EINTR) continue;
    trouble_ = reason(errno);
    break;
  }
  size_ += taken;
  return taken;
}

std::size_t LogFile::append(std::span<const std::string_view> lines, std::uint64_t limit_bytes) {
  std::size_t done = 0;
  trouble_.clear();
  while (done < lines.size() && !full(limit_bytes)) {
    chunk_.clear();
    std::size_t end = done;
    while (end < lines.size() && chunk_.size() < kMaxChunkBytes &&
           (limit_bytes == 0 || size_ + chunk_.size() < limit_bytes))
      chunk_ += lines[end++];
    std::size_t taken = put(chunk_);
    if (taken == chunk_.size()) {
      done = end;
      continue;
    }
    while (done < end && taken >= lines[done].size()) taken -= lines[done++].size();
    // The message that did not fit as a whole is taken back.
    if (const off_t at = ::lseek(fd_, 0, SEEK_CUR); taken > 0 && at >= static_cast<off_t>(taken))
      size_ -= ::ftruncate(fd_, at - static_cast<off_t>(taken)) == 0 ? taken : 0;
    return done;
  }
  return done;
}

}  // namespace herdgate::server
