// What a server says of a transaction whose COMMIT got no answer. Pure.
//
// Shape    fate_of() reads the answer to txid_status(id); fate_of_error() the SQLSTATE in place of one.
// Threads  pure.
// Source   PostgreSQL manual, "Transaction ID and Snapshot Information Functions".
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace herdgate::vsession {

enum class Fate : std::uint8_t {
  committed,
  rolled_back,
  running,  // the server still works on it
  unknown,
};

// nullopt: NULL, the id is too old to be known.
Fate fate_of(const std::optional<std::string>& status);
// 22023: the id has not been given out. What a new primary never heard of was not committed there.
Fate fate_of_error(std::string_view text);

}  // namespace herdgate::vsession
