// The note on a real loop and a real disk; a pool of one thread, held up by the test.
#include "monitor/switchover_note.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "monitor/state_store.h"

namespace herdgate::monitor {
namespace {

struct NoteTest : ::testing::Test {
  SystemClock clock;
  net::Loop loop{clock};
  net::BlockingPool blocking{1};
  backend::Scratch scratch;
  SwitchoverNote note{ProbeMeans{loop, blocking, scratch}};
  std::filesystem::path folder;
  std::vector<std::string> heard;

  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "herdgate_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string path() const { return folder / "note"; }
  void set(std::optional<std::string> text, const std::string& name) {
    note.set(path(), std::move(text), [this, name](const Result<Done>& written) {
      heard.push_back(name + (written ? " is there" : " failed"));
    });
  }
  // Until all that was set is over.
  void run(Duration limit = std::chrono::seconds(20)) {
    note.settled(limit, [this] {
      heard.push_back("settled");
      loop.stop();
    });
    loop.run();
  }
};

TEST_F(NoteTest, EveryoneIsAnsweredInOrder) {
  set("a", "a");
  set("b", "b");
  set(std::nullopt, "none");
  set("c", "c");
  run();
  EXPECT_EQ(heard, (std::vector<std::string>{"a is there", "b is there", "none is there", "c is there", "settled"}));
  EXPECT_EQ(read_state_file(path()).value(), "c");
}

TEST_F(NoteTest, AnEarlierAskerHearsOfItsOwnFailure) {
  std::filesystem::remove_all(folder);  // nothing can be written there
  set("a", "a");
  set("b", "b");
  set(std::nullopt, "none");
  run();
  EXPECT_EQ(heard, (std::vector<std::string>{"a failed", "b failed", "none is there", "settled"}));
}

TEST_F(NoteTest, WhatWaitsIsBounded) {
  std::promise<void> held;
  ASSERT_TRUE(blocking.submit(
      loop, [&] { held.get_future().wait(); }, [] {}));
  for (std::size_t i = 0; i < SwitchoverNote::kMaxWaiting + 2; ++i) set("a", std::to_string(i));
  loop.defer([&] { loop.defer([&] { held.set_value(); }); });
  run();
  EXPECT_EQ(heard.front(), "9 failed");  // one is under way, the others wait
  EXPECT_EQ(heard.size(), SwitchoverNote::kMaxWaiting + 3);
}

TEST_F(NoteTest, NobodyWaitsForADiskThatHangs) {
  std::promise<void> held;
  ASSERT_TRUE(blocking.submit(
      loop, [&] { held.get_future().wait(); }, [] {}));
  set("a", "a");
  run(std::chrono::milliseconds(1));
  EXPECT_EQ(heard, std::vector<std::string>{"settled"});
  held.set_value();
  run();
  EXPECT_EQ(heard, (std::vector<std::string>{"settled", "a is there", "settled"}));
}

TEST_F(NoteTest, NothingUnderWayIsSettledAtOnce) {
  run();
  EXPECT_EQ(heard, std::vector<std::string>{"settled"});
}

}  // namespace
}  // namespace herdgate::monitor
