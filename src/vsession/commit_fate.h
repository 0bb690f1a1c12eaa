// What a server says of a transaction whose COMMIT got no answer, and of those whose COMMIT was answered by a server
// that has failed since. Pure.
//
// Shape    fate_of() reads the answer to txid_status(id); fate_of_error() the SQLSTATE in place of one.
//          missing_query() asks a new primary for those of many ids that are not committed there, missing_in() reads
//          it.
// Threads  pure.
// Source   PostgreSQL manual, "Transaction ID and Snapshot Information Functions".
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
Fate fate_of_error(std::string_view sqlstate);

// One row with an array. A standby says NULL: what is missing there may still come. An id too old to be known is not
// missing.
std::string missing_query(const std::vector<std::uint64_t>& ids);
// nullopt: a standby, or not understood.
std::optional<std::vector<std::uint64_t>> missing_in(const std::optional<std::string>& array);

}  // namespace herdgate::vsession
