#include "catalog/recent_answers.h"

#include "base/assert.h"

namespace herdgate::catalog {

const RecentAnswers::Kept* RecentAnswers::find(const Asked& asked, TimePoint now) const {
  const Slot& slot = (*slots_)[asked.text % kSlots];
  return slot.asked == asked && now < slot.kept.until ? &slot.kept : nullptr;
}

void RecentAnswers::keep(const Asked& asked, sql::Answers answers, TimePoint until) {
  HG_ASSERT(asked.text != 0);
  Slot& slot = (*slots_)[asked.text % kSlots];
  slot.names.assign(asked.database).append(asked.role).append(asked.search_path);
  slot.asked = asked;
  const std::string_view names = slot.names;
  slot.asked.database = names.substr(0, asked.database.size());
  slot.asked.role = names.substr(asked.database.size(), asked.role.size());
  slot.asked.search_path = names.substr(asked.database.size() + asked.role.size());
  slot.kept = Kept{std::move(answers), until};
}

}  // namespace herdgate::catalog
