#include "monitor/follower.h"

#include <fmt/format.h>

#include <utility>

#include "cluster/conninfo.h"

namespace herdgate::monitor {
namespace {

// By the name of the segment that is being written: the control file names the new timeline only after a checkpoint.
constexpr const char* kTimeline =
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name("
    "pg_catalog.pg_current_wal_lsn()), 1, 8))::pg_catalog.bit(32)::pg_catalog.int4 END";
constexpr const char* kReceiver =
    "SELECT pg_catalog.pg_is_in_recovery(), (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver "
    "WHERE status = 'streaming'), pg_catalog.current_setting('primary_conninfo'), "
    "pg_catalog.current_setting('primary_slot_name'), pg_catalog.current_setting('server_version_num')";

}  // namespace

Follower::Follower(const ProbeMeans& means, Job job, Done done)
    : means_(means), job_(std::move(job)), done_(std::move(done)), began_(means.loop.now()) {
  standby_ = ask(means_, job_.standby, kFollowStepLimit);
  primary_ = ask(means_, job_.primary, kFollowStepLimit);
  query(*primary_, kTimeline, [this](const backend::Rows& rows) {
    timeline_ = text_of(rows, 0);
    if (timeline_.empty() || timeline_ == "0") return end("the primary does not say its timeline");
    look();
  });
}

Follower::~Follower() {
  *alive_ = false;
  means_.loop.cancel(timer_);
}

void Follower::query(backend::Client& client, const std::string& sql, Take take) {
  const int asked = &client == standby_.get() ? job_.standby.node.value : job_.primary.node.value;
  client.query(sql, Deadline::after(means_.loop.now(), kFollowStepLimit),
               [this, asked, take = std::move(take)](Result<backend::Rows> rows) {
                 if (!rows) return end(fmt::format("node {} could not be asked: {}", asked, rows.error().text()));
                 take(*rows);
               });
}

void Follower::look() {
  query(*standby_, kReceiver, [this](const backend::Rows& rows) { looked(rows); });
}

void Follower::looked(const backend::Rows& rows) {
  if (text_of(rows, 0) != "t")
    return end("it is out of recovery, so it would be a second primary; make it a standby of the primary first");
  if (text_of(rows, 1) == timeline_) return end({});
  if (const std::string too_old = too_old_for_builtin(text_of(rows, 4)); !too_old.empty()) return end(too_old);
  conninfo_ = cluster::running_conninfo(text_of(rows, 2));
  slot_ = text_of(rows, 3);
  const Duration waited = means_.loop.now() - began_;
  if (!pointed_ && waited >= kSettleLimit) return lock();
  if (pointed_ && waited >= kFollowLimit)
    return end("it does not receive from the primary, at which it was pointed; its log says why");
  later();
}

void Follower::later() {
  timer_ = means_.loop.after(kFollowPause, [this] {
    timer_ = 0;
    look();
  });
}

void Follower::lock() {
  query(*standby_, fmt::format("SELECT {}", kTakeConninfoLock), [this](const backend::Rows& rows) {
    const std::string holder = text_of(rows, 0);
    if (holder.empty()) return point();
    if (means_.loop.now() - began_ >= kFollowLimit) return end("its primary_conninfo is being changed by " + holder);
    later();
  });
}

void Follower::point() {
  pointed_ = true;
  began_ = means_.loop.now();
  const net::Destination to = job_.primary.to;
  if (conninfo_.empty())
    conninfo_ = fmt::format("user={} application_name={}", job_.standby.user, job_.application_name);
  const auto there = cluster::repoint(conninfo_, to.host, to.port);
  if (!there) return end(there.error().text());
  const std::string sql = alter_conninfo(*there);
  make_slot_then([this, sql] {
    query(*standby_, sql, [this](const backend::Rows&) {
      query(*standby_, fmt::format("SELECT pg_catalog.pg_reload_conf(), {}", kGiveConninfoLock),
            [this](const backend::Rows&) { later(); });
    });
  });
}

void Follower::make_slot_then(std::function<void()> then) {
  if (slot_.empty()) return then();
  query(*primary_, make_missing_slots({slot_}), [then = std::move(then)](const backend::Rows&) { then(); });
}

void Follower::end(const std::string& problem) {
  if (!done_) return;
  means_.loop.defer([alive = alive_, done = std::exchange(done_, nullptr), problem] {
    if (*alive) done(problem);
  });
}

}  // namespace herdgate::monitor
