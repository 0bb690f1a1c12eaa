// Whether what servers were sent before a moment has ended there: what a proxy that died had sent is carried out all
// the same, and nobody hears of its end.
//
// Shape    old_work_query() is asked of the node that writes go to, old_work() judges its answer. Of work that was over
//          once nothing comes back: later answers cannot be worse.
// Units    `since`: from the moment to the sending of the question, by our clock; the server's ages are by its own. The
//          two may run by one in kClocksDiffer apart, in which case too old is what is doubtful.
// Limits   work of clients only, and only what the server has begun to read.
// Errors   what says nothing is not over.
// Threads  pure.
// Source   PostgreSQL manual, "pg_stat_activity"; PostgreSQL 10 and later.
#pragma once
#include <cstdint>

#include "backend/client.h"

namespace herdgate::monitor {

inline constexpr int kClocksDiffer = 100;

enum class OldWork : std::uint8_t {
  over,
  goes_on,
  hidden,    // the role that asks may not see what others do
  elsewhere  // a standby has no work that writes; or the answer was not understood
};

const char* old_work_query();
OldWork old_work(const backend::Rows& rows, Duration since);

}  // namespace herdgate::monitor
