#include "cluster/command.h"

#include <gtest/gtest.h>

#include "config/check.h"

namespace herdgate::cluster {
namespace {

const CommandFacts kFacts{
    {NodeId(0), "a", 5432, "/data/a"}, {NodeId(2), "c", 5434, "/data/c"}, {NodeId(0), "a", 5432, "/data/a"}, NodeId(1)};

TEST(Command, EveryPlaceholderHasItsValue) {
  EXPECT_EQ(expand("f.sh %d %h %p %D | %m %H %r %R | %M %P %N %S | %%", kFacts),
            "f.sh 0 a 5432 /data/a | 2 c 5434 /data/c | 1 0 a 5432 | %");
}

TEST(Command, WithoutASuccessorAndAPrimaryTheWordsKeepTheirPlaces) {
  CommandFacts facts = kFacts;
  facts.successor = facts.old_primary = {};
  EXPECT_EQ(expand("%m %H %r %R %P %N %S", facts), "-1 \"\" \"\" \"\" -1 \"\" \"\"");
}

TEST(Command, AnEmptyDataDirectoryKeepsItsPlace) {
  CommandFacts facts = kFacts;
  facts.node.data_directory.clear();
  EXPECT_EQ(expand("%D", facts), "\"\"");
}

TEST(Command, UnknownLettersAndALonePercentVanish) { EXPECT_EQ(expand("a%xb%", kFacts), "ab"); }

TEST(Command, WhatTheConfigurationTakesForKnownIs) {
  for (char letter = ' '; letter < 0x7f; ++letter) {
    const bool known = config::kCommandLetters.find(letter) != std::string_view::npos;
    EXPECT_EQ(expand(std::string("%") + letter, kFacts) != "", known) << letter;
  }
}

TEST(Command, WhatIsFilledInIsNotLookedAtAgain) {
  CommandFacts facts = kFacts;
  facts.node.host = "%d";
  EXPECT_EQ(expand("%h", facts), "%d");
}

}  // namespace
}  // namespace herdgate::cluster
