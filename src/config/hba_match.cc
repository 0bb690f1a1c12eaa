// pool_hba.conf: addresses, and which rule fits a client.
#include <algorithm>
#include <cctype>

#include "config/hba.h"

namespace herdgate::config {
namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool database_fits(const HbaRule& rule, const HbaClient& client) {
  return std::ranges::any_of(rule.databases, [&](const HbaName& n) {
    if (!n.quoted && n.name == "all") return true;
    if (!n.quoted && n.name == "sameuser") return client.database == client.user;
    return n.name == client.database;
  });
}

bool user_fits(const HbaRule& rule, const HbaClient& client) {
  return std::ranges::any_of(rule.users,
                             [&](const HbaName& n) { return (!n.quoted && n.name == "all") || n.name == client.user; });
}

bool type_fits(const HbaRule& rule, const HbaClient& client) {
  switch (rule.type) {
    case HbaType::local:
      return client.is_local;
    case HbaType::host:
      return !client.is_local;
    case HbaType::hostssl:
      return !client.is_local && client.is_tls;
    case HbaType::hostnossl:
      return !client.is_local && !client.is_tls;
  }
  return false;
}

bool any_interface(const HbaClient& client, const IpAddress& address, bool whole_network) {
  return std::ranges::any_of(client.interfaces, [&](const Interface& i) {
    const IpAddress own = unmapped(i.address);
    return whole_network ? same_network(address, own, i.mask) : own == address;
  });
}

bool address_fits(const HbaRule& rule, const HbaClient& client) {
  const IpAddress address = unmapped(client.address);
  switch (rule.address_kind) {
    case HbaAddressKind::none:
    case HbaAddressKind::all:
      return true;
    case HbaAddressKind::samehost:
      return any_interface(client, address, false);
    case HbaAddressKind::samenet:
      return any_interface(client, address, true);
    case HbaAddressKind::network:
      return same_network(address, rule.address, rule.mask);
    case HbaAddressKind::host_name:
      return !client.host.empty() && equal_ignoring_case(client.host, rule.host);
    case HbaAddressKind::host_suffix:
      return client.host.size() > rule.host.size() &&
             equal_ignoring_case(client.host.substr(client.host.size() - rule.host.size()), rule.host);
  }
  return false;
}

// Four decimal octets, each 0..255 without needless zeros, so that 010 cannot be read as 8 by somebody else.
std::optional<IpAddress> parse_v4(std::string_view text) {
  IpAddress address;
  for (std::size_t part = 0; part < 4; ++part) {
    std::size_t size = 0;
    int octet = 0;
    while (size < text.size() && std::isdigit(static_cast<unsigned char>(text[size])) && size < 4)
      octet = octet * 10 + (text[size++] - '0');
    if (size == 0 || size > 3 || octet > 255 || (size > 1 && text[0] == '0')) return std::nullopt;
    address.octets[part] = static_cast<std::uint8_t>(octet);
    text.remove_prefix(size);
    if (part == 3) break;
    if (text.empty() || text[0] != '.') return std::nullopt;
    text.remove_prefix(1);
  }
  if (!text.empty()) return std::nullopt;
  return address;
}

// Groups of an IPv6 address on one side of "::"; the last may be an IPv4 address.
std::optional<std::vector<std::uint16_t>> parse_groups(std::string_view text, bool last_side) {
  std::vector<std::uint16_t> groups;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(':'), text.size());
    const std::string_view group = text.substr(0, end);
    if (end == text.size() && last_side && group.find('.') != std::string_view::npos) {
      const auto v4 = parse_v4(group);
      if (!v4) return std::nullopt;
      groups.push_back(static_cast<std::uint16_t>(v4->octets[0] << 8 | v4->octets[1]));
      groups.push_back(static_cast<std::uint16_t>(v4->octets[2] << 8 | v4->octets[3]));
      return groups;
    }
    const bool hex = !group.empty() && group.size() <= 4 &&
                     std::ranges::all_of(group, [](unsigned char c) { return std::isxdigit(c); });
    if (!hex || groups.size() == 8) return std::nullopt;
    groups.push_back(static_cast<std::uint16_t>(std::stoi(std::string(group), nullptr, 16)));
    if (end + 1 == text.size()) return std::nullopt;  // ends in a single colon
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return groups;
}

std::optional<IpAddress> parse_v6(std::string_view text) {
  const std::size_t gap = text.find("::");
  const bool has_gap = gap != std::string_view::npos;
  const auto head = parse_groups(text.substr(0, has_gap ? gap : text.size()), !has_gap);
  const auto tail = parse_groups(has_gap ? text.substr(gap + 2) : std::string_view{}, true);
  if (!head || !tail) return std::nullopt;
  const std::size_t count = head->size() + tail->size();
  if (has_gap ? count > 7 : count != 8) return std::nullopt;
  IpAddress address;
  address.v6 = true;
  const auto put = [&](std::size_t at, std::uint16_t group) {
    address.octets[at * 2] = static_cast<std::uint8_t>(group >> 8);
    address.octets[at * 2 + 1] = static_cast<std::uint8_t>(group);
  };
  for (std::size_t i = 0; i < head->size(); ++i) put(i, (*head)[i]);
  for (std::size_t i = 0; i < tail->size(); ++i) put(8 - tail->size() + i, (*tail)[i]);
  return address;
}

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  if (text.find(':') == std::string_view::npos) return parse_v4(text);
  if (const std::size_t zone = text.find('%'); zone != std::string_view::npos) text = text.substr(0, zone);
  return parse_v6(text);
}

std::string format_ip(const IpAddress& a) {
  if (!a.v6) return fmt::format("{}.{}.{}.{}", a.octets[0], a.octets[1], a.octets[2], a.octets[3]);
  std::string text;
  for (std::size_t i = 0; i < 16; i += 2)
    text += fmt::format("{}{:x}", i == 0 ? "" : ":", a.octets[i] << 8 | a.octets[i + 1]);
  return text;
}

IpAddress unmapped(const IpAddress& a) {
  constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!a.v6 || !std::equal(std::begin(kMapped), std::end(kMapped), a.octets.begin())) return a;
  IpAddress plain;
  std::copy_n(a.octets.begin() + 12, 4, plain.octets.begin());
  return plain;
}

bool same_network(const IpAddress& a, const IpAddress& b, const IpAddress& mask) {
  if (a.v6 != b.v6 || a.v6 != mask.v6) return false;
  for (std::size_t i = 0; i < static_cast<std::size_t>(a.bits() / 8); ++i)
    if (((a.octets[i] ^ b.octets[i]) & mask.octets[i]) != 0) return false;
  return true;
}

const HbaRule* match(std::span<const HbaRule> rules, const HbaClient& client) {
  const auto at = std::ranges::find_if(rules, [&](const HbaRule& rule) {
    return type_fits(rule, client) && (client.is_local || address_fits(rule, client)) && database_fits(rule, client) &&
           user_fits(rule, client);
  });
  return at == rules.end() ? nullptr : &*at;
}

bool needs_host_name(std::span<const HbaRule> rules, const HbaClient& client) {
  const HbaRule* first = match(rules, client);
  const HbaRule* end = first == nullptr ? rules.data() + rules.size() : first;
  return !client.is_local && std::any_of(rules.data(), end, [&](const HbaRule& rule) {
    return rule.needs_host_name() && type_fits(rule, client) && database_fits(rule, client) && user_fits(rule, client);
  });
}

}  // namespace herdgate::config
