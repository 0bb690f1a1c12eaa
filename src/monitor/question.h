// What all who ask servers by SQL share: a client for a target, text into SQL, a value out of an answer.
//
// Errors   an answer of another shape is an empty text.
// Threads  one loop.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/client.h"
#include "monitor/probe.h"

namespace herdgate::monitor {

// Connecting and logging in may take `limit`.
std::unique_ptr<backend::Client> ask(const ProbeMeans& means, const ProbeTarget& target, Duration limit);

std::string literal(std::string_view text);                             // with a blank before it
std::string alter_conninfo(std::string_view conninfo);                  // sets primary_conninfo, for the next reload
std::string make_missing_slots(const std::vector<std::string>& names);  // one of them at least

// Does a server not do what it was told? By its own words, that is, and not because its process was ended or its wait
// (SQLSTATE class 57), by when it may have begun.
bool refuses(const Error& error, std::string_view sqlstate);

// From it on primary_conninfo takes effect without a restart.
inline constexpr int kOldestBuiltin = 130000;
// Empty: new enough for the built-in failover. The argument is server_version_num.
std::string too_old_for_builtin(const std::string& version);

// Whoever changes a standby's primary_conninfo holds an advisory lock there, in database postgres, for as long as its
// session may still change it: a session that was given up may have a command on its way, and who holds the lock knows
// that none comes after him. An expression: null when it was taken, else who has it. A session without a sign of life
// for a minute (its proxy and the machine below it are gone) is ended.
extern const char* const kTakeConninfoLock;
inline constexpr const char* kGiveConninfoLock = "pg_catalog.pg_advisory_unlock_all()";

// Of the one row.
std::string text_of(const backend::Rows& rows, std::size_t column);

}  // namespace herdgate::monitor
