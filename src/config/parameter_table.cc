#include <algorithm>
#include <cctype>
#include <type_traits>

#include "base/assert.h"
#include "config/parameter.h"

namespace herdgate::config {
namespace {

template <class T>
struct IsDuration : std::false_type {};
template <class Rep, class Period>
struct IsDuration<std::chrono::duration<Rep, Period>> : std::true_type {};

template <class T>
constexpr Kind kind_of() {
  if constexpr (std::is_same_v<T, bool>) return Kind::boolean;
  if constexpr (std::is_same_v<T, double>) return Kind::real;
  if constexpr (std::is_same_v<T, std::string>) return Kind::text;
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return Kind::list;
  if constexpr (std::is_enum_v<T>) return Kind::word;
  return Kind::integer;
}

template <class T>
constexpr Unit unit_of(const Shape& shape) {
  if constexpr (std::is_same_v<T, std::chrono::milliseconds>) return Unit::milliseconds;
  if constexpr (std::is_same_v<T, std::chrono::seconds>) return Unit::seconds;
  if constexpr (std::is_same_v<T, std::chrono::minutes>) return Unit::minutes;
  return shape.unit;
}

template <class T>
Value to_value(const T& field) {
  if constexpr (IsDuration<T>::value) {
    return static_cast<std::int64_t>(field.count());
  } else if constexpr (std::is_enum_v<T> || (std::is_integral_v<T> && !std::is_same_v<T, bool>)) {
    return static_cast<std::int64_t>(field);
  } else {
    return field;
  }
}

template <class T>
void assign(T& field, const Value& value) {
  if constexpr (IsDuration<T>::value) {
    field = T{std::get<std::int64_t>(value)};
  } else if constexpr (std::is_enum_v<T> || (std::is_integral_v<T> && !std::is_same_v<T, bool>)) {
    field = static_cast<T>(std::get<std::int64_t>(value));
  } else {
    field = std::get<T>(value);
  }
}
template <class T>
void assign(std::optional<T>& field, const Value& value) {
  T plain{};
  assign(plain, value);
  field = std::move(plain);
}

int id_of(const Backend& b) { return b.id.value; }
int id_of(const WatchdogNode& n) { return n.id; }
int id_of(const Heartbeat& h) { return h.id; }
void name_it(Backend& b, int id) { b.id = NodeId{id}; }
void name_it(WatchdogNode& n, int id) { n.id = id; }
void name_it(Heartbeat& h, int id) { h.id = id; }

// The entry with this number; a default one when there is none.
template <class Entry>
const Entry& entry_at(const std::vector<Entry>& entries, int id) {
  static const Entry kDefault{};
  const auto at = std::ranges::find_if(entries, [&](const Entry& e) { return id_of(e) == id; });
  return at == entries.end() ? kDefault : *at;
}
template <class Entry>
Entry& make_entry(std::vector<Entry>& entries, int id) {
  const auto at = std::ranges::lower_bound(entries, id, {}, [](const Entry& e) { return id_of(e); });
  if (at != entries.end() && id_of(*at) == id) return *at;
  Entry fresh;
  name_it(fresh, id);
  return *entries.insert(at, std::move(fresh));
}

Value get_flags(const Settings& settings, int index) {
  const Backend& b = entry_at(settings.backends, index);
  std::string words = b.allow_to_failover ? "ALLOW_TO_FAILOVER" : "DISALLOW_TO_FAILOVER";
  if (b.always_primary) words += "|ALWAYS_PRIMARY";
  return words;
}
// Adds to the flags of earlier lines: nothing but the other of its pair takes a flag away.
void set_flags(Settings& settings, int index, const Value& value) {
  Backend& b = make_entry(settings.backends, index);
  const std::string& words = std::get<std::string>(value);
  if (words.find("ALWAYS_PRIMARY") != std::string::npos) b.always_primary = true;
  if (words.find("DISALLOW_TO_FAILOVER") != std::string::npos) {
    b.allow_to_failover = false;
  } else if (words.find("ALLOW_TO_FAILOVER") != std::string::npos) {
    b.allow_to_failover = true;
  }
}

template <class T>
Parameter row(std::string_view name, Group group, Context context, Status status, std::string_view description,
              Shape shape) {
  Parameter p;
  p.name = name;
  p.kind = kind_of<T>();
  p.unit = unit_of<T>(shape);
  p.group = group;
  p.context = context;
  p.status = status;
  p.description = description;
  p.shape = shape;
  return p;
}
Parameter with_access(Parameter p, Index index, Value (*get)(const Settings&, int),
                      void (*set)(Settings&, int, const Value&)) {
  p.index = index;
  p.get = get;
  p.set = set;
  return p;
}

std::vector<Parameter> make_table() {
  return {
#define HG_ROW(type, name, group, context, status, description, ...) \
  row<type>(#name, Group::group, Context::context, Status::status, description, Shape{__VA_ARGS__})
#define HG_PARAM(type, name, default_value, ...)                                                                      \
  with_access(                                                                                                        \
      HG_ROW(type, name, __VA_ARGS__), Index::none, [](const Settings& s, int) -> Value { return to_value(s.name); }, \
      [](Settings& s, int, const Value& v) { assign(s.name, v); }),
#define HG_PER_NODE(type, name, default_value, ...)                                       \
  with_access(                                                                            \
      HG_ROW(type, name, __VA_ARGS__), Index::per_node,                                   \
      [](const Settings& s, int index) -> Value {                                         \
        return to_value(index == kNoIndex ? s.name : s.health_check(NodeId{index}).name); \
      },                                                                                  \
      [](Settings& s, int index, const Value& v) {                                        \
        if (index == kNoIndex) return assign(s.name, v);                                  \
        assign(s.own_health_checks[index].name, v);                                       \
      }),
#define HG_ENTRY(type, name, kind, entries, member, ...)                                                 \
  with_access(                                                                                           \
      HG_ROW(type, name, __VA_ARGS__), Index::kind,                                                      \
      [](const Settings& s, int index) -> Value { return to_value(entry_at(s.entries, index).member); }, \
      [](Settings& s, int index, const Value& v) { assign(make_entry(s.entries, index).member, v); }),
#define HG_BACKEND(type, name, member, default_value, ...) HG_ENTRY(type, name, backend, backends, member, __VA_ARGS__)
#define HG_WATCHDOG(type, name, member, default_value, ...) \
  HG_ENTRY(type, name, watchdog, watchdog_nodes, member, __VA_ARGS__)
#define HG_HEARTBEAT(type, name, member, default_value, ...) \
  HG_ENTRY(type, name, heartbeat, heartbeats, member, __VA_ARGS__)
#define HG_BACKEND_FLAG(name, default_value, ...) \
  with_access(HG_ROW(std::string, name, __VA_ARGS__), Index::backend, get_flags, set_flags),
#define HG_ALIAS(name, target, group, context, description)                                                     \
  [] {                                                                                                          \
    Parameter p = row<std::string>(#name, Group::group, Context::context, Status::built, description, Shape{}); \
    p.alias_of = #target;                                                                                       \
    return p;                                                                                                   \
  }(),
#include "config/parameters.inc"
  };
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// Exact spelling goes before another case, since delegate_IP and delegate_ip are two rows.
const Parameter* find_row(std::string_view name) {
  const auto all = parameters();
  if (const auto at = std::ranges::find(all, name, &Parameter::name); at != all.end()) return &*at;
  const auto at =
      std::ranges::find_if(all, [&](const Parameter& p) { return p.alias_of.empty() && same_name(p.name, name); });
  return at == all.end() ? nullptr : &*at;
}

// A numbered name: its row, and the number however large.
std::optional<Named> split_number(std::string_view name) {
  std::size_t digits = 0;
  while (digits < name.size() && std::isdigit(static_cast<unsigned char>(name[name.size() - digits - 1]))) ++digits;
  constexpr std::size_t kMaxDigits = 6;  // heartbeat_port01 is met in real files
  if (digits == 0 || digits > kMaxDigits) return std::nullopt;
  const Parameter* p = find_row(name.substr(0, name.size() - digits));
  if (p == nullptr || p->index == Index::none) return std::nullopt;
  int index = 0;
  for (const char c : name.substr(name.size() - digits)) index = index * 10 + (c - '0');
  return Named{p, index};
}

}  // namespace

std::span<const Parameter> parameters() {
  static const std::vector<Parameter> kTable = make_table();
  return kTable;
}

int max_index(Index kind) { return kind == Index::heartbeat ? kMaxHeartbeats : kMaxNodes; }

std::optional<Named> find_parameter(std::string_view name, bool bare_arrays) {
  if (const Parameter* p = find_row(name)) {
    const bool needs_number = p->index != Index::none && p->index != Index::per_node;
    if (needs_number && !bare_arrays) return std::nullopt;
    return Named{p, kNoIndex};
  }
  const auto named = split_number(name);
  if (!named || named->index >= max_index(named->parameter->index)) return std::nullopt;
  return named;
}

std::optional<Named> find_beyond_range(std::string_view name) {
  if (find_row(name) != nullptr) return std::nullopt;
  const auto named = split_number(name);
  if (!named || named->index < max_index(named->parameter->index)) return std::nullopt;
  return named;
}

Value default_value(const Parameter& parameter) {
  HG_ASSERT(parameter.get != nullptr);
  static const Settings kDefaults;
  return parameter.get(kDefaults, kNoIndex);
}

std::string_view group_title(Group group) {
  switch (group) {
    case Group::connections:
      return "Connections";
    case Group::authentication:
      return "Authentication";
    case Group::ssl:
      return "TLS";
    case Group::pool:
      return "Connection pool and processes";
    case Group::clustering:
      return "Clustering mode";
    case Group::native_replication:
      return "Native replication";
    case Group::load_balance:
      return "Load balancing";
    case Group::streaming:
      return "Streaming replication";
    case Group::health_check:
      return "Health check";
    case Group::failover:
      return "Failover";
    case Group::recovery:
      return "Online recovery";
    case Group::watchdog:
      return "Watchdog";
    case Group::lifecheck:
      return "Watchdog life check";
    case Group::query_cache:
      return "Query cache";
    case Group::relation_cache:
      return "Relation cache";
    case Group::logging:
      return "Logging";
    case Group::files:
      return "File locations";
    case Group::herdgate:
      return "Herdgate's own";
  }
  return "";
}

}  // namespace herdgate::config
