#include "server/process_figures.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace herdgate::server {
namespace {

TEST(ProcessFigures, ANameMayHoldAnything) {
  const char* text =
      "4711 (a) b (c) S 1 2 3 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 7 0 12345 104857600 2048 18446744073709551615 1\n";
  const auto figures = parse_stat(text, {.ticks_per_second = 100, .page_bytes = 4096});
  ASSERT_TRUE(figures);
  EXPECT_DOUBLE_EQ(figures->cpu_seconds, 3.0);
  EXPECT_EQ(figures->threads, 7u);
  EXPECT_EQ(figures->virtual_bytes, 104857600u);
  EXPECT_EQ(figures->resident_bytes, 2048u * 4096);
}

TEST(ProcessFigures, WhatIsNoStatIsNotUnderstood) {
  EXPECT_FALSE(parse_stat("", {}));
  EXPECT_FALSE(parse_stat("1 (x) S 1 2", {}));
}

TEST(ProcessFigures, ThisProcessIsSeen) {
  const auto before = process_figures();
  ASSERT_TRUE(before);
  EXPECT_GT(before->resident_bytes, 1u << 20);
  EXPECT_GE(before->virtual_bytes, before->resident_bytes);
  EXPECT_GE(before->threads, 1u);
  EXPECT_GT(before->max_fds, before->open_fds);
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(process_figures()->open_fds, before->open_fds + 1);
  ::close(fd);
  EXPECT_EQ(process_figures()->open_fds, before->open_fds);
}

}  // namespace
}  // namespace herdgate::server
