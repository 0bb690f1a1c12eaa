// For tests: something that speaks enough of a server's protocol to be pooled, on the loop of the test.
//
// Shape    every login is let in; Query and Sync are answered at once; a cancel request stays open until end_cancels().
//          `script` may answer a message in its own way, or not at all; what is missing is said by say() later.
//          `changed` is called whenever something has arrived.
// Threads  the test's.
#pragma once
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "net/loop.h"
#include "net/socket.h"

namespace herdgate::pool {

class FakeServer {
 public:
  explicit FakeServer(net::Loop& loop) : loop_(loop) {
    listener_ = std::move(net::Listener::tcp(loop_, "127.0.0.1", 0, 64)->front());
    (void)listener_->start([this](net::Socket socket, const net::Address&) { accept(std::move(socket)); },
                           [](const Error&) {});
  }
  int port() const { return listener_->port(); }
  void drop_all() { lines_.clear(); }
  void end_cancels() {
    std::erase_if(lines_, [](const auto& line) { return line->cancels; });
  }
  std::size_t open_lines() const {
    return static_cast<std::size_t>(std::count_if(lines_.begin(), lines_.end(), [](const auto& l) { return l->open; }));
  }

  // Those whom `holds` has kept.
  void let_in() {
    holds = false;
    for (const auto& line : lines_) {
      if (std::exchange(line->held_, false) && line->open) line->welcome();
    }
  }

  // On the line that heard something last.
  void say(ByteView bytes) {
    if (last_ != nullptr) (void)last_->socket_.write(loop_, bytes);
  }

  // What has come on that line, and the loop has not heard of yet; empty: nothing within a second.
  Bytes unread() const {
    char chunk[8192];
    pollfd line{last_->socket_.fd(), POLLIN, 0};
    ::poll(&line, 1, 1000);
    const ssize_t got = ::recv(line.fd, chunk, sizeof chunk, MSG_PEEK | MSG_DONTWAIT);
    return got > 0 ? Bytes(chunk, static_cast<std::size_t>(got)) : Bytes();
  }

  bool silent = false;          // accepts and says nothing
  bool holds = false;           // a login has its slot and hears nothing, until let_in()
  bool tells_isolation = true;  // or answers the question for it with an error
  int isolation_asked = 0;
  bool asks = false;                                             // for a password, and says nothing to it
  Bytes asks_by = Bytes("\0\0\0\3", 4);                          // in this way
  std::string refuses;                                           // logins, by this SQLSTATE
  std::size_t room = 1000;                                       // for logins; 53300 to more of them
  Bytes reported;                                                // ParameterStatus messages of a login
  std::function<bool(const Bytes& message, Bytes& out)> script;  // true: `out` is the whole answer
  int logins = 0, refused = 0, cancels = 0, syncs = 0;           // refused: for want of room
  Bytes key = Bytes("\0\0\0\7\1\2\3\4", 8);                      // of its sessions: process and secret
  Bytes cancel;                                                  // the last request, whole
  std::vector<std::string> queries;
  std::function<void()> changed = [] {};

 private:
  static constexpr std::size_t kHeaderBytes = 5;
  static void put(Bytes& out, char type, ByteView payload) {
    out += type;
    append_u32(out, static_cast<std::uint32_t>(payload.size() + 4));
    out += payload;
  }
  struct Line final : net::Watcher {
    Line(FakeServer& server, net::Socket s) : server_(server), socket_(std::move(s)) {
      (void)server_.loop_.watch(socket_.fd(), *this);
    }
    ~Line() override {
      server_.loop_.unwatch(socket_.fd());
      if (server_.last_ == this) server_.last_ = nullptr;
    }
    void on_ready(unsigned) override {
      char chunk[8192];
      for (;;) {
        const net::Io io = socket_.read(server_.loop_, chunk);
        if (io.state == net::Io::closed || io.state == net::Io::failed) open = false;
        if (io.state != net::Io::ok) break;
        in_.append(chunk, io.bytes);
        serve();
      }
      server_.changed();
    }
    void serve() {
      Bytes out;
      while (in_.size() >= 8 && !cancels) {
        const std::size_t head = inside_ ? 1 : 0;
        const std::size_t total = load_u32(in_.data() + head) + head;
        if (in_.size() < total) break;
        const Bytes message = in_.substr(0, total);
        in_.erase(0, total);
        inside_ ? answer(message, out) : enter(message, out);
      }
      while (inside_ && in_.size() >= kHeaderBytes && in_.size() >= load_u32(in_.data() + 1) + 1) {
        const std::size_t total = load_u32(in_.data() + 1) + 1;
        const Bytes message = in_.substr(0, total);
        in_.erase(0, total);
        answer(message, out);
      }
      if (!out.empty()) (void)socket_.write(server_.loop_, out);
    }
    void enter(const Bytes& startup, Bytes& out) {
      if (server_.silent) return;
      if (load_u32(startup.data() + 4) == 80877102) {
        cancels = true;
        ++server_.cancels;
        server_.cancel = startup;
        return;
      }
      inside_ = true;
      ++server_.logins;
      if (server_.asks) return put(out, 'R', server_.asks_by);
      const auto inside = [](const auto& line) { return line->inside_ && line->open; };
      if (static_cast<std::size_t>(std::count_if(server_.lines_.begin(), server_.lines_.end(), inside)) >
          server_.room) {
        open = false;
        ++server_.refused;
        return put(out, 'E', Bytes("C53300\0\0", 8));
      }
      if (!server_.refuses.empty()) return put(out, 'E', "C" + server_.refuses + Bytes(2, '\0'));
      if (server_.holds) {
        held_ = true;
        return;
      }
      greet(out);
    }
    void welcome() {
      Bytes out;
      greet(out);
      (void)socket_.write(server_.loop_, out);
    }
    void greet(Bytes& out) {
      put(out, 'R', Bytes(4, '\0'));
      out += server_.reported;
      put(out, 'K', server_.key);
      put(out, 'Z', "I");
    }
    void answer(const Bytes& message, Bytes& out) {
      server_.last_ = this;
      if (message.starts_with("Q") && message.find("default_transaction_isolation") != Bytes::npos) {
        ++server_.isolation_asked;  // by a login
        if (server_.tells_isolation) {
          put(out, 'D', ByteView("\0\1\0\0\0\x0eread committed", 20));
          put(out, 'D', ByteView("\0\1\0\0\0\6public", 12));
        }
        server_.tells_isolation ? put(out, 'C', ByteView("OK\0", 3)) : put(out, 'E', ByteView("C42501\0\0", 8));
        return put(out, 'Z', "I");
      }
      if (message[0] == 'Q') server_.queries.emplace_back(message.c_str() + kHeaderBytes);
      if (server_.script && server_.script(message, out)) return;
      if (message[0] == 'Q') put(out, 'C', ByteView("OK\0", 3));
      if (message[0] == 'S') ++server_.syncs;
      if (message[0] == 'Q' || message[0] == 'S') put(out, 'Z', "I");
    }
    bool cancels = false, open = true;

   private:
    friend class FakeServer;
    FakeServer& server_;
    net::Socket socket_;
    Bytes in_;
    bool inside_ = false, held_ = false;
  };

  void accept(net::Socket socket) {
    lines_.push_back(std::make_unique<Line>(*this, std::move(socket)));
    loop_.defer([this] { changed(); });
  }

  net::Loop& loop_;
  std::unique_ptr<net::Listener> listener_;
  Line* last_ = nullptr;
  std::vector<std::unique_ptr<Line>> lines_;
};

}  // namespace herdgate::pool
