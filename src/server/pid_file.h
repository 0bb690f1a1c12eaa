// The pid file: says to other programs which process is the server, and to a second server that there is one already.
//
// Shape    read_pid_file(path) -> pid or none; check_pid_file before a start; PidFile creates it and removes it at its
//          end. Content: the number in decimal and one NUL octet. Mode 0600. Locked (flock) as long as the server runs.
// Errors   pid_file_taken (its process lives, or has it locked), pid_file_unreadable, pid_file_unwritable.
// Threads  none.
// Source   Pgpool-II 4.6 manual, "pid_file_name".
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

#include "base/result.h"

namespace herdgate::server {

// None: no such file. An error: there is one, but without a number.
Result<std::optional<pid_t>> read_pid_file(const std::string& path);

bool process_lives(pid_t pid);

// The file that a process left which has ended. False: it is another one's, or about to be, and stays.
bool remove_left_pid_file(const std::string& path, pid_t pid);

enum class PidFileFound { none, stale };
// pid_file_taken with the pid as context when its process lives.
Result<PidFileFound> check_pid_file(const std::string& path);

class PidFile {
 public:
  // A file that is there already is a stale one (check first); it is replaced, unless its server has it locked.
  static Result<PidFile> create(const std::string& path);
  PidFile(PidFile&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  PidFile& operator=(PidFile&&) = delete;
  ~PidFile();  // removes the file, if it is still ours

 private:
  PidFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  static Result<int> lock(const std::string& path);
  std::string path_;
  int fd_ = -1;  // holds the lock
};

}  // namespace herdgate::server
