#include "session/client_stream.h"

#include <sys/uio.h>

#include <algorithm>

namespace herdgate::session {

Gathering& ClientStream::gathering() {
  if (out_) return *out_;
  if (spare_.empty()) {
    out_ = std::make_unique<Gathering>();
  } else {
    out_ = std::move(spare_.back());
    spare_.pop_back();
  }
  return *out_;
}

// Nothing is left to be sent: the buffers serve another client.
void ClientStream::let_go() {
  const bool large = out_->own.capacity() + out_->kept.capacity() > Gathering::kMaxKeptCapacity;
  if (large || spare_.size() >= Gathering::kMaxSpare) return out_.reset();
  out_->pieces.clear();
  out_->own.clear();
  out_->kept.clear();
  out_->own_covered = out_->kept_sent = 0;
  spare_.push_back(std::move(out_));
}

void ClientStream::add(ByteView bytes, bool stable) {
  if (bytes.empty() || broken_) return;
  if (!stable) {
    own().append(bytes);
    return added_own();
  }
  std::vector<Gathering::Part>& pieces = gathering().pieces;
  if (!pieces.empty()) {
    Gathering::Part& last = pieces.back();
    if (last.data != nullptr && last.data + last.size == bytes.data()) {
      last.size += bytes.size();
      return;
    }
  }
  pieces.push_back(Gathering::Part{bytes.data(), 0, bytes.size()});
}

void ClientStream::added_own() {
  Gathering& out = gathering();
  const std::size_t fresh = out.own.size() - out.own_covered;
  if (fresh == 0) return;
  if (!out.pieces.empty() && out.pieces.back().data == nullptr) {
    out.pieces.back().size += fresh;
  } else {
    out.pieces.push_back(Gathering::Part{nullptr, out.own_covered, fresh});
  }
  out.own_covered = out.own.size();
}

void ClientStream::flush() {
  if (!out_) return;
  if (out_->pieces.empty()) return pending() == 0 ? let_go() : void();
  std::size_t sent = 0;
  bool all = false;
  if (writable_ && pending() == 0 && !broken_) {
    iovec vectors[net::kMaxPieces];
    const std::size_t count = std::min(out_->pieces.size(), net::kMaxPieces);
    for (std::size_t i = 0; i < count; ++i) {
      const Gathering::Part& part = out_->pieces[i];
      const char* data = part.data != nullptr ? part.data : out_->own.data() + part.offset;
      vectors[i] = iovec{const_cast<char*>(data), part.size};
    }
    const net::Io io = socket_.send_soon(loop_, std::span(vectors, count));
    if (io.state == net::Io::failed || io.state == net::Io::closed) broken_ = true;
    writable_ = io.still_ready;
    sent = io.bytes;
    all = io.still_ready && count == out_->pieces.size();
  }
  if (!all) keep_from(sent);
  out_->pieces.clear();
  out_->own.clear();
  out_->own_covered = 0;
  if (pending() == 0 || broken_) return let_go();
  // More pieces than one call takes: nothing would tell us to write the rest, the socket has not refused anything.
  if (writable_) on_writable();
}

void ClientStream::keep_from(std::size_t sent) {
  if (broken_) return;
  for (const Gathering::Part& part : out_->pieces) {
    const char* data = part.data != nullptr ? part.data : out_->own.data() + part.offset;
    const std::size_t skip = std::min(sent, part.size);
    sent -= skip;
    out_->kept.append(data + skip, part.size - skip);
  }
}

bool ClientStream::on_writable() {
  writable_ = true;
  while (pending() > 0 && writable_ && !broken_) {
    const iovec rest{out_->kept.data() + out_->kept_sent, pending()};
    const net::Io io = socket_.send_soon(loop_, {&rest, 1});
    if (io.state == net::Io::failed || io.state == net::Io::closed) broken_ = true;
    out_->kept_sent += io.bytes;
    writable_ = io.still_ready;
  }
  if (pending() > 0) return false;
  if (out_ && out_->pieces.empty()) let_go();
  return true;
}

void ClientStream::took_less(ByteView rest, int errno_value) {
  writable_ = false;
  if (errno_value != 0) broken_ = true;
  if (broken_) return;
  Gathering& out = gathering();
  out.kept.replace(0, out.kept_sent, rest);
  out.kept_sent = 0;
}

bool ClientStream::all_sent() {
  loop_.send_queued(fd());
  return pending() == 0;
}

// What waits for the loop's next turn has none: it goes now, as far as the socket takes it.
void ClientStream::close() {
  if (!socket_.open()) return;
  if (!all_sent() && !broken_) socket_.write(loop_, ByteView(out_->kept).substr(out_->kept_sent));
  loop_.forget(socket_.fd());
  socket_.close();
}

}  // namespace herdgate::session
