// One log file of the collector, and its successors.
//
// Shape    begin(path) opens it for appending, or emptied; append(lines) takes whole messages until the file is full
//          and says how many it took: the rest is for the next call.
// Limits   kMaxChunkBytes for one write; a file grows past its limit by less than one message.
// Errors   append() takes fewer messages than it is given and trouble() says why: the disk is full, or the file was
//          removed. No message is ever left half written: what a failed write put there is cut off again.
// Threads  one.
// Source   open(2), write(2) with O_APPEND; so the file may be truncated or renamed by others at any time.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace herdgate::server {

class LogFile {
 public:
  static constexpr std::size_t kMaxChunkBytes = 256 * 1024;
  LogFile() = default;
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  // On failure the file before stays in use.
  Result<Done> begin(const std::string& path, unsigned mode, bool emptied);
  std::size_t append(std::span<const std::string_view> lines, std::uint64_t limit_bytes);

  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  bool full(std::uint64_t limit_bytes) const { return limit_bytes > 0 && size_ >= limit_bytes; }
  // Looks at the file: how long it is now, and whether it still has a name.
  bool removed();
  const std::string& trouble() const { return trouble_; }  // why append() stopped; empty: it did not, or it is full

 private:
  std::size_t put(std::string_view chunk);
  std::string path_, trouble_, chunk_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace herdgate::server
