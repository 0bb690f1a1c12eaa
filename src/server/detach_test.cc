#include "server/detach.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <filesystem>

namespace herdgate::server {
namespace {

// Receives on a datagram socket bound to `name`; a leading '@' means the abstract name space.
std::string round_trip(const std::string& name, std::string_view message) {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, name.size());
  if (name.front() == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  const auto sent = notify_service_manager(name, message);
  EXPECT_TRUE(sent) << sent.error().text();
  std::array<char, 256> buffer;
  const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  ::close(fd);
  return got < 0 ? "nothing came" : std::string(buffer.data(), static_cast<std::size_t>(got));
}

TEST(Notify, ReachesASocketFile) {
  std::string pattern = std::filesystem::temp_directory_path() / "hg_notify_XXXXXX";
  const std::string folder = ::mkdtemp(pattern.data());
  EXPECT_EQ(round_trip(folder + "/notify", "READY=1\nSTATUS=x"), "READY=1\nSTATUS=x");
  std::filesystem::remove_all(folder);
}

TEST(Notify, ReachesAnAbstractName) {
  EXPECT_EQ(round_trip(fmt::format("@herdgate_test_{}", ::getpid()), "STOPPING=1"), "STOPPING=1");
}

TEST(Notify, NobodyToTellIsFineAndABrokenAddressIsSaid) {
  EXPECT_TRUE(notify_service_manager("", "READY=1"));
  EXPECT_FALSE(notify_service_manager("/no/such/socket", "READY=1"));
  EXPECT_FALSE(notify_service_manager(std::string(200, 'x'), "READY=1"));
}

}  // namespace
}  // namespace herdgate::server
