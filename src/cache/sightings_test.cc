#include "cache/sightings.h"

#include <gtest/gtest.h>

namespace herdgate::cache {
namespace {

TEST(Sightings, ALaterKeyMayTakeAnEarlierOnesPlace) {
  Sightings sightings;
  const Hash128 one{5, 0x1000}, other{5 + Sightings::kSlots, 0x2000}, elsewhere{6, 0x1000};
  EXPECT_FALSE(sightings.seen({0, 0})) << "nobody has been seen at first";
  sightings.note(one);
  EXPECT_TRUE(sightings.seen(one));
  EXPECT_FALSE(sightings.seen(other));
  EXPECT_FALSE(sightings.seen(elsewhere));
  sightings.note(other);
  EXPECT_TRUE(sightings.seen(other));
  EXPECT_FALSE(sightings.seen(one));
}

TEST(Sightings, CountsTheEntriesOfASlotsKeys) {
  Sightings sightings;
  const Hash128 one{5, 0x1000}, same_slot{5 + Sightings::kSlots, 0x2000}, elsewhere{6, 0x1000};
  EXPECT_FALSE(sightings.may_have(one));
  sightings.added(one);
  sightings.added(same_slot);
  EXPECT_TRUE(sightings.may_have(one));
  EXPECT_FALSE(sightings.may_have(elsewhere));
  sightings.removed(one);
  EXPECT_TRUE(sightings.may_have(one)) << "the other is still there";
  sightings.note(one);
  sightings.removed(same_slot);
  EXPECT_FALSE(sightings.may_have(one));
  EXPECT_TRUE(sightings.seen(one)) << "a sighting of its own";
}

// Rather a search for nothing than an entry that is not found.
TEST(Sightings, ACountThatIsFullStaysFull) {
  Sightings sightings;
  const Hash128 one{5, 0x1000};
  for (unsigned i = 0; i < Sightings::kMany + 10u; ++i) sightings.added(one);
  for (unsigned i = 0; i < Sightings::kMany + 10u; ++i) sightings.removed(one);
  EXPECT_TRUE(sightings.may_have(one));
}

}  // namespace
}  // namespace herdgate::cache
