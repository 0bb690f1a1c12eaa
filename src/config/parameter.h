// One row of the parameter table at run time: what is known of a parameter, and how to read and write its field.
//
// Shape    parameters() -> all rows in table order; find_parameter(name); parse_value(row, text) -> Value.
// Units    Value holds integers in the parameter's own unit; enums as their numbers.
// Errors   Errc::bad_value; the context is the message for the user and, after a line break, a hint (a sentence).
// Threads  the table is constant.
// Source   Pgpool-II 4.6 manual, "Setting Parameters".
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "config/settings.h"

namespace herdgate::config {

enum class Kind : std::uint8_t { boolean, integer, real, text, list, word };
enum class Unit : std::uint8_t { none, bytes, kilobytes, milliseconds, seconds, minutes };
enum class Context : std::uint8_t { startup, reload, session };
enum class Status : std::uint8_t { built, not_built, not_needed, refused };
// Does the name carry a number, and of what?
enum class Index : std::uint8_t { none, per_node, backend, watchdog, heartbeat };
enum class Group : std::uint8_t {
  connections,
  authentication,
  ssl,
  pool,
  clustering,
  native_replication,
  load_balance,
  streaming,
  health_check,
  failover,
  recovery,
  watchdog,
  lifecheck,
  query_cache,
  relation_cache,
  logging,
  files,
  herdgate
};
std::string_view group_title(Group group);

using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

// What a value must look like. `unit` of times follows from the field's type.
struct Shape {
  Unit unit = Unit::none;
  std::int64_t min = 0, max = 0;
  bool octal = false;
  char separator = ',';
  bool escaped_separator = false;  // a separator after a backslash belongs to the element
  bool secret = false;
  std::span<const EnumWord> words{};
};

inline constexpr int kNoIndex = -1;

struct Parameter {
  std::string_view name;
  Kind kind = Kind::text;
  Unit unit = Unit::none;
  Group group = Group::connections;
  Context context = Context::startup;
  Status status = Status::built;
  Index index = Index::none;
  std::string_view description;
  Shape shape;
  std::string_view alias_of;  // an old spelling of this one
  // index: the number in the name, kNoIndex for none. Reading a number that is not configured gives the default.
  Value (*get)(const Settings&, int index) = nullptr;
  void (*set)(Settings&, int index, const Value&) = nullptr;
  bool ours() const { return group == Group::herdgate; }
};

std::span<const Parameter> parameters();

// A name as it is written: the row and the number it carries.
struct Named {
  const Parameter* parameter = nullptr;
  int index = kNoIndex;
};
// nullopt: no such parameter, a number out of range, a number missing (except with `bare_arrays`) or too many.
std::optional<Named> find_parameter(std::string_view name, bool bare_arrays = false);
// A numbered parameter whose number is too large: its row and the number, for the message. Else nullopt.
std::optional<Named> find_beyond_range(std::string_view name);
int max_index(Index kind);  // one past the greatest number

Result<Value> parse_value(const Parameter& parameter, std::string_view text);
Value default_value(const Parameter& parameter);

// As PGPOOL SHOW prints it (units, words, octal); secrets are not hidden here.
std::string format_value(const Parameter& parameter, const Value& value);
// As SHOW POOL_STATUS prints it (plain numbers).
std::string status_value(const Parameter& parameter, const Value& value);
// "0 .. 65535", "on, off", or empty; for messages and documents.
std::string range_text(const Parameter& parameter);

}  // namespace herdgate::config
