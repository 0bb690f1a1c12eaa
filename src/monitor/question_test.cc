#include "monitor/question.h"

#include <gtest/gtest.h>

namespace herdgate::monitor {
namespace {

TEST(Builtin, WhatCannotReloadPrimaryConninfoIsRefusedByName) {
  for (const char* version : {"130000", "150020", "170002"}) EXPECT_EQ(too_old_for_builtin(version), "");
  EXPECT_EQ(too_old_for_builtin("120022"),
            "server_version_num is 120022, failover_method = builtin needs PostgreSQL 13 or later");
  EXPECT_NE(too_old_for_builtin(""), "");
}

}  // namespace
}  // namespace herdgate::monitor
