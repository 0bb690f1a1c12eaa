// Plans made lately, for statements whose plan hangs on little: the same text, in a session to which nothing out of the
// ordinary has happened, outside of a transaction or in one with the same properties. Saves asking and deciding anew
// what was decided a moment ago, which was a fifth of the instructions of pgbench's SELECT. Pure.
//
// Shape    find(asked) before the catalog is asked; after decide() keep(asked, plan). Both refuse what is not plain.
//          recent_plans_test.cc holds it against decide() over all statements and states of the golden files.
// Limits   kSlots texts; a newer text takes the slot of an older one.
// Threads  one for each worker, as the facts' serial numbers are. One pair of View and Settings: clear() with new ones.
#pragma once
#include <array>
#include <memory>
#include <string>

#include "base/clock.h"
#include "route/route.h"

namespace herdgate::route {

// What decide() would be given, and for whom the catalog would answer, until when.
struct Asked {
  const Input& input;  // `answers` is not looked at
  std::string_view role, search_path;
  std::uint64_t epoch = 0;  // of the database in the catalog
};

class RecentPlans {
 public:
  static constexpr std::size_t kSlots = 256;
  RecentPlans();
  ~RecentPlans();
  struct Kept {
    Plan plan;
    sql::Answers answers;      // what it was made of, for whoever needs them beside it
    std::uint64_t number = 0;  // no other has it: for what is kept beside it. keep() gives it
  };
  // Valid until the next keep() or clear().
  const Kept* find(const Asked& asked, TimePoint now) const;
  void keep(const Asked& asked, Kept kept, TimePoint until);
  void clear();

 private:
  struct Slot;
  std::unique_ptr<std::array<Slot, kSlots>> slots_;
  std::uint64_t last_number_ = 0;
};

}  // namespace herdgate::route
