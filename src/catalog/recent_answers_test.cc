#include "catalog/recent_answers.h"

#include <gtest/gtest.h>

#include <functional>

namespace herdgate::catalog {
namespace {

const TimePoint kNow{std::chrono::seconds(100)};

Asked asked_about(std::uint64_t text) {
  return {.text = text, .relations = true, .database = "shop", .role = "alice", .search_path = "public", .epoch = 3};
}

sql::Answers one_view() {
  sql::Answers answers;
  answers.relations.resize(1);
  answers.relations[0].view = true;
  return answers;
}

TEST(RecentAnswers, KnowsWhatWasKept) {
  RecentAnswers recent;
  EXPECT_EQ(recent.find(asked_about(7), kNow), nullptr);
  recent.keep(asked_about(7), one_view(), TimePoint::max());
  const RecentAnswers::Kept* found = recent.find(asked_about(7), kNow);
  ASSERT_NE(found, nullptr);
  EXPECT_TRUE(found->answers.relations.at(0).view);
}

TEST(RecentAnswers, EverythingThatAnAnswerDependsOnCounts) {
  RecentAnswers recent;
  recent.keep(asked_about(7), one_view(), TimePoint::max());
  const std::function<void(Asked&)> changes[] = {
      [](Asked& a) { a.text = 7 + RecentAnswers::kSlots; },
      [](Asked& a) { a.relations = false; },
      [](Asked& a) { a.functions = true; },
      [](Asked& a) { a.calls = true; },
      [](Asked& a) { a.database = "shed"; },
      [](Asked& a) { a.role = "bob"; },
      [](Asked& a) { a.search_path = ""; },
      [](Asked& a) { a.epoch = 4; },
      // The same letters, differently divided.
      [](Asked& a) { a.database = "shopa", a.role = "lice"; },
  };
  for (const auto& change : changes) {
    Asked other = asked_about(7);
    change(other);
    EXPECT_EQ(recent.find(other, kNow), nullptr);
  }
}

TEST(RecentAnswers, NothingIsKnownPastItsTime) {
  RecentAnswers recent;
  recent.keep(asked_about(7), one_view(), kNow + std::chrono::seconds(1));
  EXPECT_NE(recent.find(asked_about(7), kNow), nullptr);
  EXPECT_EQ(recent.find(asked_about(7), kNow + std::chrono::seconds(1)), nullptr);
}

TEST(RecentAnswers, ANewerTextTakesTheSlot) {
  RecentAnswers recent;
  recent.keep(asked_about(7), one_view(), TimePoint::max());
  recent.keep(asked_about(7 + RecentAnswers::kSlots), {}, TimePoint::max());
  EXPECT_EQ(recent.find(asked_about(7), kNow), nullptr);
  EXPECT_NE(recent.find(asked_about(7 + RecentAnswers::kSlots), kNow), nullptr);
}

}  // namespace
}  // namespace herdgate::catalog
