#include "config/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/errc.h"
#include "config/parameter.h"

namespace herdgate::config {
namespace {

constexpr std::string_view kHidden = "*****";

// Groups of numbered parameters, by the word PGPOOL SHOW takes.
struct ArrayGroup {
  std::string_view word;
  Index index;
};
constexpr ArrayGroup kGroups[] = {{"backend", Index::backend},
                                  {"watchdog", Index::watchdog},
                                  {"heartbeat", Index::heartbeat},
                                  {"health_check", Index::per_node}};

std::vector<int> numbers_of(const Settings& s, Index index) {
  std::vector<int> all;
  if (index == Index::backend || index == Index::per_node)
    for (const Backend& b : s.backends) all.push_back(b.id.value);
  if (index == Index::watchdog)
    for (const WatchdogNode& n : s.watchdog_nodes) all.push_back(n.id);
  if (index == Index::heartbeat)
    for (const Heartbeat& h : s.heartbeats) all.push_back(h.id);
  return all;
}

ShowRow row_of(const Settings& s, const Parameter& p, int index) {
  ShowRow row;
  row.item = index == kNoIndex ? std::string(p.name) : fmt::format("{}{}", p.name, index);
  // Values of arrays go without units.
  const bool plain = p.kind == Kind::integer && p.index != Index::none;
  const Value value = p.get(s, index);
  row.value = p.shape.secret ? std::string(kHidden) : plain ? status_value(p, value) : format_value(p, value);
  row.description = p.description;
  return row;
}

void add_array(const Settings& s, const Parameter& p, std::vector<ShowRow>& rows) {
  if (p.index == Index::per_node) rows.push_back(row_of(s, p, kNoIndex));
  for (const int index : numbers_of(s, p.index)) rows.push_back(row_of(s, p, index));
}

// Node by node, after the values for all nodes.
void add_group(const Settings& s, Index group, std::vector<ShowRow>& rows) {
  std::vector<int> numbers = numbers_of(s, group);
  if (group == Index::per_node) numbers.insert(numbers.begin(), kNoIndex);
  for (const int number : numbers)
    for (const Parameter& p : parameters())
      if (p.index == group && p.alias_of.empty()) rows.push_back(row_of(s, p, number));
}

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

auto not_found(std::string_view name) {
  return fail(Errc::unknown_parameter, fmt::format("config variable \"{}\" not found", name));
}

}  // namespace

Result<Shown> show(const Settings& settings, std::string_view name) {
  Shown shown;
  const std::string word = lowered(name);
  for (const ArrayGroup& group : kGroups) {
    if (group.word != word) continue;
    shown.single = false;
    add_group(settings, group.index, shown.rows);
    return shown;
  }
  if (const auto beyond = find_beyond_range(name))
    return fail(Errc::unknown_parameter,
                fmt::format("invalid index {} for configuration parameter \"{}\"\nallowed index is between 0 and {}",
                            beyond->index, beyond->parameter->name, max_index(beyond->parameter->index) - 1));
  auto named = find_parameter(name, /*bare_arrays=*/true);
  if (!named) return not_found(name);
  if (!named->parameter->alias_of.empty()) named = find_parameter(named->parameter->alias_of);
  const Parameter& p = *named->parameter;
  if (p.index != Index::none && named->index == kNoIndex) {
    shown.single = false;
    add_array(settings, p, shown.rows);
    return shown;
  }
  shown.rows.push_back(row_of(settings, p, named->index));
  shown.column = shown.rows[0].item;
  return shown;
}

Shown show_all(const Settings& settings) {
  Shown shown;
  shown.single = false;
  for (const ArrayGroup& group : kGroups) add_group(settings, group.index, shown.rows);
  const std::size_t grouped = shown.rows.size();
  for (const Parameter& p : parameters())
    if (p.alias_of.empty() && p.index == Index::none) shown.rows.push_back(row_of(settings, p, kNoIndex));
  std::stable_sort(shown.rows.begin() + static_cast<std::ptrdiff_t>(grouped), shown.rows.end(),
                   [](const ShowRow& a, const ShowRow& b) { return a.item.size() > b.item.size(); });
  return shown;
}

Result<std::string> show_value(const Settings& settings, std::string_view name) {
  HG_TRY(Shown shown, show(settings, name));
  if (!shown.single) return fail(Errc::unknown_parameter, fmt::format("\"{}\" has more than one value", name));
  return std::move(shown.rows[0].value);
}

}  // namespace herdgate::config
