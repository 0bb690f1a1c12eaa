#include "base/lifetime.h"

#include <gtest/gtest.h>

#include <memory>

namespace herdgate {
namespace {

TEST(Lifetime, WatchesAtEveryDepthLearnOfTheEnd) {
  auto object = std::make_unique<Lifetime>();
  const Lifetime::Watch outer(*object);
  {
    const Lifetime::Watch inner(*object);
    EXPECT_TRUE(inner.alive());
    object.reset();
    EXPECT_FALSE(inner.alive());
  }
  EXPECT_FALSE(outer.alive());
}

TEST(Lifetime, AWatchThatHasEndedIsNotTold) {
  auto object = std::make_unique<Lifetime>();
  const Lifetime::Watch outer(*object);
  { const Lifetime::Watch ended(*object); }
  const Lifetime::Watch later(*object);
  object.reset();
  EXPECT_FALSE(outer.alive());
  EXPECT_FALSE(later.alive());
}

}  // namespace
}  // namespace herdgate
