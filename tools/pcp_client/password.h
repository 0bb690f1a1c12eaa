// Where a password comes from: .pcppass or the terminal.
//
// Shape    find_password(text, host, port, user): the first line of host:port:user:password that fits; '*' fits all, a
//          backslash takes the next character as it is. read_pass_file() gives the text, or a warning why not.
// Limits   kMaxPassFileBytes, kMaxPasswordBytes.
// Threads  none.
// Source   Pgpool-II 4.6 manual, "PCP Commands", "PCP Password File".
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace herdgate::pcp_client {

inline constexpr std::size_t kMaxPassFileBytes = 1 << 20, kMaxPasswordBytes = 1024;

struct PassKey {
  std::string host;  // empty, for the UNIX socket in /tmp, fits "localhost"
  int port = 0;
  std::string user;
};
std::optional<std::string> find_password(std::string_view text, const PassKey& key);

struct PassFile {
  std::string text, warning;
};
// $PCPPASSFILE, else ~/.pcppass. A file that is not there is an empty one.
PassFile read_pass_file();

bool has_terminal();
std::string ask_password();  // at the terminal; without one from stdin

}  // namespace herdgate::pcp_client
