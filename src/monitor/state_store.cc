#include "monitor/state_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <random>
#include <utility>
#include <vector>

#include "monitor/errc.h"

namespace herdgate::monitor {
namespace {

constexpr mode_t kFileMode = 0644;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

tl::unexpected<Error> failed(Errc code, const std::string& path) {
  return fail(code, path + ": " + std::strerror(errno));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// So that the name is there too.
bool sync_folder_of(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const Descriptor opened(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return opened.get() >= 0 && ::fsync(opened.get()) == 0;
}

constexpr std::string_view kFreshEnd = ".new";
constexpr std::size_t kFreshDigits = 8;

// path.0123abcd.new
bool is_fresh_name_of(const std::string& path, const std::string& name) {
  if (name.size() != path.size() + 1 + kFreshDigits + kFreshEnd.size()) return false;
  const std::string digits = name.substr(path.size() + 1, kFreshDigits);
  return name.starts_with(path + ".") && name.ends_with(kFreshEnd) &&
         digits.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool is_leftover(const std::string& name) {
  struct stat about {};
  if (::lstat(name.c_str(), &about) != 0 || !S_ISREG(about.st_mode) || about.st_uid != ::geteuid()) return false;
  return about.st_mtime + std::chrono::seconds(kLeftAfter).count() < std::time(nullptr);
}

}  // namespace

std::string state_path(const std::string& folder, std::string_view name) {
  const std::string path = fmt::format("{}/{}", folder, name);
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error);
  return error ? path : full.string();
}

Result<std::optional<std::string>> read_state_file(const std::string& path) {
  // Not blocking: someone may have put a pipe there.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0 && errno == ENOENT) return std::optional<std::string>{};
  if (file.get() < 0) return failed(Errc::state_file_unreadable, path);
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) return failed(Errc::state_file_unreadable, path);
  if (!S_ISREG(about.st_mode)) return fail(Errc::state_file_unreadable, path + ": not a regular file");
  std::string text(kMaxStateFileBytes, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = ::read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(Errc::state_file_unreadable, path);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  text.resize(size);
  return std::optional<std::string>(std::move(text));
}

Result<Done> write_state_file(const std::string& path, const std::string& text, Durable durable) {
  // Made by us alone, by a name that nobody can take beforehand: the folder may be one that others write to.
  const std::string fresh = fmt::format("{}.{:08x}{}", path, std::random_device()(), kFreshEnd);
  Descriptor file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (file.get() < 0) return failed(Errc::state_file_unwritable, fresh);
  const bool sync = durable == Durable::yes;
  const bool written = write_all(file.get(), text) && (!sync || ::fsync(file.get()) == 0) && file.close();
  if (!written || std::rename(fresh.c_str(), path.c_str()) != 0 || (sync && !sync_folder_of(path))) {
    const auto failure = failed(Errc::state_file_unwritable, path);
    ::unlink(fresh.c_str());
    return failure;
  }
  return Done{};
}

Result<Done> remove_state_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed(Errc::state_file_unwritable, path);
  return Done{};
}

void remove_leftovers(const std::string& path) {
  std::error_code error;
  const auto folder = std::filesystem::path(path).parent_path();
  std::vector<std::string> found;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (is_fresh_name_of(path, it->path().string()) && is_leftover(it->path().string()))
      found.push_back(it->path().string());
  for (const std::string& name : found) ::unlink(name.c_str());
}

}  // namespace herdgate::monitor
