// The same relay on Boost.Asio callbacks, as lean as Asio allows: one thread, concurrency hint 1, the io_context's own
// executor type, handlers allocated from a buffer of their own.
//
// Usage: relay_asio LISTEN_PORT SERVER_PORT. Ends at SIGTERM.
#include <array>
#include <boost/asio.hpp>
#include <cstdlib>
#include <memory>

namespace asio = boost::asio;
using asio::ip::tcp;
using Socket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;

namespace {

// Memory for the one operation of a direction that is outstanding at a time.
class HandlerMemory {
 public:
  void* allocate(std::size_t bytes) {
    if (used_ || bytes > sizeof storage_) return ::operator new(bytes);
    used_ = true;
    return storage_;
  }
  void release(void* p) { p == storage_ ? static_cast<void>(used_ = false) : ::operator delete(p); }

 private:
  alignas(std::max_align_t) unsigned char storage_[512];
  bool used_ = false;
};

template <class T>
struct Allocator {
  using value_type = T;
  explicit Allocator(HandlerMemory& m) : memory(&m) {}
  template <class U>
  Allocator(const Allocator<U>& other) : memory(other.memory) {}
  T* allocate(std::size_t n) { return static_cast<T*>(memory->allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t) { memory->release(p); }
  bool operator==(const Allocator&) const = default;
  HandlerMemory* memory;
};

struct Relay : std::enable_shared_from_this<Relay> {
  struct Direction {
    std::array<char, 16384> buffer;
    HandlerMemory memory;
  };
  Relay(Socket a, asio::io_context& io) : client(std::move(a)), server(io) {}

  void start(const tcp::endpoint& to) {
    server.async_connect(to, [self = shared_from_this()](boost::system::error_code error) {
      if (error) return;
      self->client.set_option(tcp::no_delay(true));
      self->server.set_option(tcp::no_delay(true));
      self->client.non_blocking(true);
      self->server.non_blocking(true);
      self->read(self->client, self->server, self->up);
      self->read(self->server, self->client, self->down);
    });
  }
  void read(Socket& from, Socket& to, Direction& way) {
    auto got = [self = shared_from_this(), &from, &to, &way](boost::system::error_code error, std::size_t bytes) {
      if (error) return self->end();
      // Written at once, without an operation of its own: the socket has room.
      to.write_some(asio::buffer(way.buffer.data(), bytes), error);
      if (error) return self->end();
      self->read(from, to, way);
    };
    from.async_read_some(asio::buffer(way.buffer), asio::bind_allocator(Allocator<void>(way.memory), std::move(got)));
  }
  void end() {
    boost::system::error_code ignored;
    client.close(ignored);
    server.close(ignored);
  }
  Socket client, server;
  Direction up, down;
};

void accept(asio::io_context& io, tcp::acceptor& acceptor, const tcp::endpoint& server) {
  acceptor.async_accept(io, [&, server](boost::system::error_code error, Socket socket) {
    if (!error) std::make_shared<Relay>(std::move(socket), io)->start(server);
    accept(io, acceptor, server);
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  asio::io_context io(1);
  const auto at = [](const char* port) {
    return tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<unsigned short>(std::atoi(port)));
  };
  tcp::acceptor acceptor(io, at(argv[1]));
  accept(io, acceptor, at(argv[2]));
  io.run();
}
