// What a client reads and writes texts by, as a server reports it (ParameterStatus). Sessions whose link reports
// something else than their client was told tell it.
//
// Shape    the settings of kNames, each with its value, and a hash over all: the usual comparison is one number.
// Threads  a value; the shared ones are not changed.
// Source   PostgreSQL manual, "Asynchronous Operations". Left out is what differs from node to node or login to login
//          (in_hot_standby, is_superuser, session_authorization, application_name), and what never changes.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace herdgate::backend {

class Reported {
 public:
  static constexpr std::array<std::string_view, 6> kNames{"client_encoding",
                                                          "DateStyle",
                                                          "IntervalStyle",
                                                          "TimeZone",
                                                          "standard_conforming_strings",
                                                          "default_transaction_read_only"};
  // Of these, in lower case: the place of one, or -1.
  static int place(std::string_view name);
  static std::string key(int place);

  void set(int place, std::string_view value);
  const std::string& at(int place) const { return values_[static_cast<std::size_t>(place)]; }  // empty: not reported
  std::uint64_t hash() const { return hash_; }

 private:
  std::array<std::string, kNames.size()> values_;
  std::uint64_t hash_ = 0;
};

}  // namespace herdgate::backend
