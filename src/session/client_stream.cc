#include "session/client_stream.h"

#include <sys/uio.h>

#include <algorithm>

namespace herdgate::session {

void ClientStream::add(ByteView bytes, bool stable) {
  if (bytes.empty() || broken_) return;
  if (!stable) {
    own_.append(bytes);
    return added_own();
  }
  if (!pieces_.empty()) {
    Part& last = pieces_.back();
    if (last.data != nullptr && last.data + last.size == bytes.data()) {
      last.size += bytes.size();
      return;
    }
  }
  pieces_.push_back(Part{bytes.data(), 0, bytes.size()});
}

void ClientStream::added_own() {
  const std::size_t fresh = own_.size() - own_covered_;
  if (fresh == 0) return;
  if (!pieces_.empty() && pieces_.back().data == nullptr) {
    pieces_.back().size += fresh;
  } else {
    pieces_.push_back(Part{nullptr, own_covered_, fresh});
  }
  own_covered_ = own_.size();
}

void ClientStream::flush() {
  if (pieces_.empty()) return;
  std::size_t sent = 0;
  if (writable_ && pending() == 0 && !broken_) {
    iovec vectors[net::kMaxPieces];
    const std::size_t count = std::min(pieces_.size(), net::kMaxPieces);
    for (std::size_t i = 0; i < count; ++i) {
      const Part& part = pieces_[i];
      const char* data = part.data != nullptr ? part.data : own_.data() + part.offset;
      vectors[i] = iovec{const_cast<char*>(data), part.size};
    }
    const net::Io io = count == 1
                           ? socket_.write(loop_, ByteView(static_cast<char*>(vectors[0].iov_base), vectors[0].iov_len))
                           : socket_.writev(loop_, std::span(vectors, count));
    if (io.state == net::Io::failed || io.state == net::Io::closed) broken_ = true;
    writable_ = io.still_ready;
    sent = io.bytes;
    bytes_out_ += sent;
  }
  keep_from(sent);
  pieces_.clear();
  own_covered_ = 0;
  if (own_.capacity() > 4096) {
    Bytes().swap(own_);
  } else {
    own_.clear();
  }
  // More pieces than one call takes: nothing would tell us to write the rest, the socket has not refused anything.
  if (writable_ && pending() > 0 && !broken_) on_writable();
}

void ClientStream::keep_from(std::size_t sent) {
  if (broken_) return;
  for (const Part& part : pieces_) {
    const char* data = part.data != nullptr ? part.data : own_.data() + part.offset;
    const std::size_t skip = std::min(sent, part.size);
    sent -= skip;
    kept_.append(data + skip, part.size - skip);
  }
}

bool ClientStream::on_writable() {
  writable_ = true;
  while (pending() > 0 && writable_ && !broken_) {
    const net::Io io = socket_.write(loop_, ByteView(kept_).substr(kept_sent_));
    if (io.state == net::Io::failed || io.state == net::Io::closed) broken_ = true;
    kept_sent_ += io.bytes;
    bytes_out_ += io.bytes;
    writable_ = io.still_ready;
  }
  if (pending() > 0) return false;
  Bytes().swap(kept_);
  kept_sent_ = 0;
  return true;
}

void ClientStream::close() {
  if (!socket_.open()) return;
  loop_.unwatch(socket_.fd());
  socket_.close();
}

}  // namespace herdgate::session
