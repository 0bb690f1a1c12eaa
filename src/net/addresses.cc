#include "net/addresses.h"

#include <netdb.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "net/errc.h"

namespace herdgate::net {

Result<Address> unix_address(const std::string& path) {
  Address address;
  auto& to = reinterpret_cast<sockaddr_un&>(address.storage);
  if (path.size() >= sizeof to.sun_path)
    return fail(Errc::bad_address,
                fmt::format("the path of the socket \"{}\" is longer than {} octets", path, sizeof to.sun_path - 1));
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.data(), path.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

Resolved resolve(const std::string& host, int port, Resolve how) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  if (how == Resolve::numeric) hints.ai_flags |= AI_NUMERICHOST;
  if (how == Resolve::passive) hints.ai_flags |= AI_PASSIVE;
  addrinfo* list = nullptr;
  Resolved result;
  const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (code != 0) {
    result.problem = code == EAI_SYSTEM ? std::generic_category().message(errno) : ::gai_strerror(code);
    result.unknown = code == EAI_AGAIN || code == EAI_FAIL || code == EAI_MEMORY || code == EAI_SYSTEM;
    result.temporary = code == EAI_AGAIN;
    return result;
  }
  for (const addrinfo* a = list; a != nullptr && result.addresses.size() < kMaxAddresses; a = a->ai_next) {
    Address address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.length = a->ai_addrlen;
    const auto same = [&](const Address& other) {
      return other.length == address.length && std::memcmp(&other.storage, &address.storage, address.length) == 0;
    };
    if (std::none_of(result.addresses.begin(), result.addresses.end(), same)) result.addresses.push_back(address);
  }
  ::freeaddrinfo(list);
  return result;
}

std::string verified_host_name(const Address& address) {
  char name[NI_MAXHOST];
  const auto* raw = reinterpret_cast<const sockaddr*>(&address.storage);
  if (address.is_unix() || getnameinfo(raw, address.length, name, sizeof name, nullptr, 0, NI_NAMEREQD) != 0) return {};
  // Anybody may claim a name for an address of his own; the name's owner has to agree.
  for (const Address& claimed : resolve(name, 0, Resolve::any).addresses) {
    if (claimed.host() == address.host()) return name;
  }
  return {};
}

}  // namespace herdgate::net
