#include "session/client_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/test_kernel.h"

namespace herdgate::session {
namespace {

// A session's part in it, and its client's end of the connection.
struct End final : net::Watcher {
  End(net::Loop& loop, Gathering::Spare& spare) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    client = net::Socket(ends[0]);
    stream = std::make_unique<ClientStream>(loop, net::Socket(ends[1]), spare);
    EXPECT_TRUE(loop.watch(stream->fd(), *this));
  }
  ~End() override { stream->close(); }
  void on_ready(unsigned ready) override {
    if (ready & net::kWritable) stream->on_writable();
  }
  void on_unsent(std::string_view rest, int errno_value) override { stream->took_less(rest, errno_value); }
  void say(ByteView bytes) {
    stream->add(bytes, false);
    stream->flush();
  }
  std::string heard() const {
    std::string got(1 << 20, '\0');
    const ssize_t n = ::recv(client.fd(), got.data(), got.size(), 0);
    got.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return got;
  }
  net::Socket client;
  std::unique_ptr<ClientStream> stream;
};

struct ClientStreamTest : net::OnEachKernel {
  // In one turn, behind one in which what is watched has been taken note of.
  void in_a_turn(const std::function<void()>& work) {
    loop.after(Duration::zero(), [this, work] {
      loop.after(Duration::zero(), [this, work] {
        work();
        loop.stop();
      });
    });
    run();
  }
  Gathering::Spare spare;
};

TEST_P(ClientStreamTest, LastWordsAreHeardBehindAnAnswerThatHasGone) {
  End a(loop, spare), b(loop, spare);
  in_a_turn([&] {
    a.say("answer");
    b.say("bye");
    b.stream->close();
    a.say("FATAL");
    a.stream->close();
  });
  EXPECT_EQ(a.heard(), "answerFATAL");
  EXPECT_EQ(b.heard(), "bye");
}

TEST_P(ClientStreamTest, LastWordsAreHeardBehindALongAnswer) {
  End a(loop, spare);
  const std::string answer(8150, 'a'), last(100, 'f');
  in_a_turn([&] {
    a.say(answer);
    a.say(last);
    a.stream->close();
  });
  EXPECT_EQ(a.heard(), answer + last);
}

// What a full socket has not taken is not overtaken by what comes behind it.
TEST_P(ClientStreamTest, AFullSocketGetsTheBeginningOnly) {
  End a(loop, spare);
  const int small = 4096;
  ::setsockopt(a.stream->fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  std::string all;
  in_a_turn([&] {
    for (char c = 'a'; c <= 'z'; ++c) {
      a.say(std::string(5000, c));
      all.append(5000, c);
    }
    a.stream->close();
  });
  const std::string heard = a.heard();
  EXPECT_GT(heard.size(), 0u);
  EXPECT_LT(heard.size(), all.size());
  EXPECT_TRUE(all.starts_with(heard));
}

INSTANTIATE_TEST_SUITE_P(Each, ClientStreamTest, net::kKernels, net::kernel_name);

}  // namespace
}  // namespace herdgate::session
