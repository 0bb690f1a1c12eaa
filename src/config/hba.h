// pool_hba.conf: which clients may come in, and how they prove who they are.
//
// Shape    parse_hba(text, path) -> HbaLoaded{rules, findings}; match(rules, client) -> the first rule that fits.
// Limits   kMaxHbaLineBytes, kMaxHbaRules.
// Errors   findings with file and line. With an error the rules must not be put in force.
// Threads  pure; rules are immutable.
// Source   Pgpool-II 4.6 manual, "Client Authentication"; PostgreSQL manual, "The pg_hba.conf File".
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace herdgate::config {

inline constexpr std::size_t kMaxHbaLineBytes = 64u << 10;
inline constexpr std::size_t kMaxHbaRules = 10'000;

// An IP address as octets in network order; IPv4 uses the first four.
struct IpAddress {
  bool v6 = false;
  std::array<std::uint8_t, 16> octets{};
  int bits() const { return v6 ? 128 : 32; }
  bool operator==(const IpAddress&) const = default;
};
std::optional<IpAddress> parse_ip(std::string_view text);
std::string format_ip(const IpAddress& address);
// An IPv4 address in IPv6 clothes (::ffff:1.2.3.4) as plain IPv4; others unchanged.
IpAddress unmapped(const IpAddress& address);
bool same_network(const IpAddress& a, const IpAddress& b, const IpAddress& mask);

enum class HbaType : std::uint8_t { local, host, hostssl, hostnossl };
enum class HbaMethod : std::uint8_t { trust, reject, md5, scram_sha_256, password, cert, pam, ldap };
std::string_view hba_method_name(HbaMethod method);

enum class HbaAddressKind : std::uint8_t { none, all, samehost, samenet, network, host_name, host_suffix };

struct HbaName {
  std::string name;
  bool quoted = false;  // "all" in quotes is a name, not the keyword
  bool operator==(const HbaName&) const = default;
};

struct HbaRule {
  HbaType type = HbaType::local;
  std::vector<HbaName> databases, users;
  HbaAddressKind address_kind = HbaAddressKind::none;
  IpAddress address, mask;  // kind network
  std::string host;         // kinds host_name and host_suffix (with its dot)
  HbaMethod method = HbaMethod::reject;
  std::map<std::string, std::string> options;
  int line = 0;
  std::string text;  // the line, for logs and EXPLAIN
  // Matching needs the client's host name, verified by a forward look-up.
  bool needs_host_name() const {
    return address_kind == HbaAddressKind::host_name || address_kind == HbaAddressKind::host_suffix;
  }
};

struct HbaLoaded {
  std::vector<HbaRule> rules;
  std::vector<Finding> findings;
  bool has_errors() const;
};
HbaLoaded parse_hba(std::string_view text, const std::string& path);

struct Interface {
  IpAddress address, mask;
};
// Who knocks. `host` is empty while unknown; rules by host name do not match then.
struct HbaClient {
  bool is_local = false;  // UNIX socket
  bool is_tls = false;
  IpAddress address;
  std::string_view database, user, host;
  std::span<const Interface> interfaces;  // of this machine, for samehost and samenet
};
const HbaRule* match(std::span<const HbaRule> rules, const HbaClient& client);
// True when a rule before the first match asks for the host name: look it up, then match again.
bool needs_host_name(std::span<const HbaRule> rules, const HbaClient& client);

}  // namespace herdgate::config
