// From names and numbers to socket addresses.
//
// Shape    unix_address(path); resolve(host, port, passive, numeric only) -> addresses without repetition, in the
//          order in which the system wants them tried.
// Limits   kMaxAddresses for one name; the rest is left out.
// Errors   Errc::bad_address, Errc::name_not_found with the resolver's words.
// Threads  resolve() blocks unless `numeric` is set.
#pragma once
#include <string>
#include <vector>

#include "net/socket.h"

namespace herdgate::net {

inline constexpr std::size_t kMaxAddresses = 16;

Result<Address> unix_address(const std::string& path);

struct Resolved {
  std::vector<Address> addresses;  // empty on failure
  std::string problem;
  bool unknown = false;    // whether there is such a name could not be learned: trouble of ours or of the name service
  bool temporary = false;  // … and asking again soon may help
};
enum class Resolve { any, numeric, passive };
Resolved resolve(const std::string& host, int port, Resolve how);

}  // namespace herdgate::net
