#include "catalog/recent_answers.h"

#include "base/assert.h"

namespace herdgate::catalog {

const sql::Answers* RecentAnswers::find(const Asked& asked, TimePoint now) const {
  const Slot& slot = (*slots_)[asked.text % kSlots];
  return slot.asked == asked && now < slot.until ? &slot.answers : nullptr;
}

const sql::Answers* RecentAnswers::keep(const Asked& asked, sql::Answers answers, TimePoint until) {
  HG_ASSERT(asked.text != 0);
  Slot& slot = (*slots_)[asked.text % kSlots];
  slot.names.assign(asked.database).append(asked.role).append(asked.search_path);
  slot.asked = asked;
  const std::string_view names = slot.names;
  slot.asked.database = names.substr(0, asked.database.size());
  slot.asked.role = names.substr(asked.database.size(), asked.role.size());
  slot.asked.search_path = names.substr(asked.database.size() + asked.role.size());
  slot.until = until;
  slot.answers = std::move(answers);
  return &slot.answers;
}

}  // namespace herdgate::catalog
