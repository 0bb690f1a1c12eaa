#include "sql/text_shape.h"

#include <gmock/gmock.h>

#include <random>

namespace herdgate::sql {
namespace {

TEST(TextShape, PutsZeroForEachNumber) {
  TextShape shape;
  ASSERT_TRUE(shape_of("select a1 from t where b = 17 and c < 1.5", shape));
  EXPECT_EQ(shape.text, "select a1 from t where b = 0 and c < 0");
  EXPECT_THAT(shape.numbers, testing::ElementsAre(27, 37));
  EXPECT_FALSE(shape_of("select a from t", shape));
  EXPECT_FALSE(shape_of("select $1, 2", shape));
}

TEST(TextShape, WithoutNumbersOnlyTheSameTextHasIt) {
  const TextShape whole{"select 'a\\'", {}};
  EXPECT_TRUE(has_shape("select 'a\\'", whole));
  EXPECT_FALSE(has_shape("select 'a\\' ", whole));
  EXPECT_FALSE(has_shape("select 'a\\", whole));
  EXPECT_FALSE(has_shape("", whole));
}

// has_shape() is a short way and nothing else: over all pairs of short random texts of what shapes care about, it says
// what making both shapes and comparing them says.
TEST(TextShape, HasShapeIsShapeOfCompared) {
  std::mt19937 random(20261127);
  constexpr std::string_view kPieces[] = {"1", "27", ".", "a",  "_", " ", "'", "-",
                                          "/", "*",  "0", "\"", "$", "e", "(", "\\"};
  std::vector<std::string> texts;
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    // The last ones of the list make shape_of() refuse a text: they come seldom.
    for (std::size_t n = random() % 6; n > 0; --n)
      text += kPieces[random() % (random() % 8 == 0 ? std::size(kPieces) : 9)];
    texts.push_back(text);
  }
  int alike = 0;
  for (const std::string& one : texts) {
    TextShape shape, other;
    if (!shape_of(one, shape)) continue;
    ASSERT_TRUE(has_shape(one, shape)) << one;
    for (const std::string& text : texts) {
      const bool same = shape_of(text, other) && other.text == shape.text;
      ASSERT_EQ(has_shape(text, shape), same) << one << " | " << text;
      if (same) {
        ASSERT_EQ(other.numbers, shape.numbers);
      }
      alike += same && text != one;
    }
  }
  EXPECT_GT(alike, 1000);
}

}  // namespace
}  // namespace herdgate::sql
