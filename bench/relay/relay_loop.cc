// A relay between each client and a server, on net::Loop: what the data path of Herdgate costs without Herdgate.
//
// Usage: relay_loop LISTEN_PORT SERVER_PORT. Ends at SIGTERM.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "net/socket.h"

using namespace herdgate;

namespace {

struct Relay;

// One direction's source; what it reads goes to the other end of its relay.
class End final : public net::Watcher {
 public:
  End(Relay& relay, net::Socket s) : socket(std::move(s)), relay_(relay) {}
  void on_ready(unsigned ready) override;
  End* other = nullptr;
  net::Socket socket;

 private:
  Relay& relay_;
};

struct Relay {
  Relay(net::Loop& l, net::Socket client, net::Socket server)
      : loop(l), a(*this, std::move(client)), b(*this, std::move(server)) {
    a.other = &b;
    b.other = &a;
    if (!loop.watch(a.socket.fd(), a) || !loop.watch(b.socket.fd(), b)) std::abort();
  }
  void end() {
    loop.unwatch(a.socket.fd());
    loop.unwatch(b.socket.fd());
    delete this;
  }
  net::Loop& loop;
  End a, b;
};

void End::on_ready(unsigned ready) {
  std::array<char, 16384> buffer;
  while (ready & net::kReadable) {
    const net::Io in = socket.read(relay_.loop, buffer);
    if (in.state == net::Io::would_block) return;
    if (in.state != net::Io::ok) return relay_.end();
    // Messages are small and answered one by one, so the socket has room.
    const net::Io out = other->socket.write(relay_.loop, std::string_view(buffer.data(), in.bytes));
    if (out.bytes != in.bytes) return relay_.end();
    if (!in.still_ready && !(ready & net::kHangup)) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const SystemClock clock;
  net::Loop loop(clock);
  net::BlockingPool pool(1);
  const int server_port = std::atoi(argv[2]);
  auto listeners = net::Listener::tcp(loop, "127.0.0.1", std::atoi(argv[1]), 256);
  if (!listeners) return std::fprintf(stderr, "%s\n", listeners.error().text().c_str()), 1;
  std::vector<std::unique_ptr<net::Connecting>> connecting;
  const auto accepted = [&](net::Socket socket, const net::Address&) {
    net::apply_tcp_options(socket.fd(), {});
    auto client = std::make_shared<net::Socket>(std::move(socket));
    connecting.push_back(net::connect(loop, pool, {"127.0.0.1", server_port}, {}, [&, client](Result<net::Socket> s) {
      if (s) new Relay(loop, std::move(*client), std::move(*s));
    }));
  };
  if (!(*listeners)[0]->start(accepted, [](const Error&) {})) return 1;
  loop.run();
}
