// The whole answers about texts asked about lately, in front of Catalog as the cache of facts is in front of the
// parser: a text that comes again finds them by a number, without a look-up for each of its names.
//
// Shape    find(asked), and after a look-up that left nothing open keep(asked, answers).
// Limits   kSlots texts; a newer text takes the slot of an older one.
// Threads  one for each worker, as the facts' serial numbers are.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "sql/answers.h"

namespace herdgate::catalog {

struct Asked {
  std::uint64_t text = 0;                        // Facts::serial, never 0
  bool relations = false, functions = false;     // which of its names
  bool calls = false;                            // Questions::calls
  std::string_view database, role, search_path;  // as in Viewpoint
  std::uint64_t epoch = 0;                       // of the database, now
  bool operator==(const Asked&) const = default;
};

class RecentAnswers {
 public:
  static constexpr std::size_t kSlots = 256;
  RecentAnswers() : slots_(std::make_unique<std::array<Slot, kSlots>>()) {}
  // Valid until the next keep().
  struct Kept {
    sql::Answers answers;
    TimePoint until{};
  };
  const Kept* find(const Asked& asked, TimePoint now) const;
  void keep(const Asked& asked, sql::Answers answers, TimePoint until);

 private:
  struct Slot {
    Asked asked;        // its views are into `names`
    std::string names;  // database, role, search_path, one after the other
    Kept kept;
  };
  std::unique_ptr<std::array<Slot, kSlots>> slots_;
};

}  // namespace herdgate::catalog
