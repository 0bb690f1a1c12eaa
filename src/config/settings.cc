#include "config/settings.h"

#include <algorithm>

namespace herdgate::config {

const Backend* Settings::backend(NodeId id) const {
  const auto at = std::ranges::find(backends, id, &Backend::id);
  return at == backends.end() ? nullptr : &*at;
}

double Settings::weight_share(NodeId id) const {
  double total = 0;
  for (const Backend& b : backends) total += b.weight;
  const Backend* b = backend(id);
  return b == nullptr || total <= 0 ? 0 : b->weight / total;
}

HealthCheck Settings::health_check(NodeId id) const {
  HealthCheck values;
#define HG_PER_NODE(type, name, ...) values.name = name;
#include "config/parameters.inc"
  const auto own = own_health_checks.find(id.value);
  if (own == own_health_checks.end()) return values;
#define HG_PER_NODE(type, name, ...) \
  if (own->second.name) values.name = *own->second.name;
#include "config/parameters.inc"
  return values;
}

bool Settings::logs_to(std::string_view destination) const {
  std::string_view rest = log_destination;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string_view word = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    if (word == destination) return true;
  }
  return false;
}

std::string Settings::beside_config(std::string_view path) const {
  const std::size_t slash = config_file.rfind('/');
  if (path.empty() || path.front() == '/' || slash == std::string::npos) return std::string(path);
  return config_file.substr(0, slash + 1).append(path);
}

}  // namespace herdgate::config
