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

TEST(Question, SlotsAndConninfoAreLiterals) {
  EXPECT_EQ(alter_conninfo("host=a'b"), "ALTER SYSTEM SET primary_conninfo = E'host=a''b'");
  EXPECT_NE(make_missing_slots({"a"}).find("ARRAY[ E'a']"), std::string::npos);
  EXPECT_NE(make_missing_slots({"a", "b"}).find("ARRAY[ E'a', E'b']"), std::string::npos);
}

TEST(Refusals, AreToldByTheSqlstateAndNotByTheWords) {
  using backend::Errc;
  EXPECT_TRUE(refuses({Errc::query_failed, "permission denied for function pg_promote (42501)"}, "42501"));
  EXPECT_TRUE(refuses({Errc::query_failed, "no such function (57) (42883)"}, "42883"));
  EXPECT_TRUE(refuses({Errc::query_failed, "unreadable"}, ""));
  for (const char* ended : {"57P01", "57P02", "57014"})
    EXPECT_FALSE(refuses({Errc::query_failed, "beendet"}, ended)) << ended;
  EXPECT_FALSE(refuses({Errc::closed_by_server, ""}, ""));
  EXPECT_FALSE(refuses({Errc::timed_out, "query"}, "42501"));
}

}  // namespace
}  // namespace herdgate::monitor
