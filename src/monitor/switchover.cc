#include "monitor/switchover.h"

#include <fmt/format.h>

#include <utility>

#include "cluster/conninfo.h"

namespace herdgate::monitor {
namespace {

constexpr const char* kPrimary =
    "SELECT NOT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('is_superuser'), "
    "pg_catalog.current_setting('hot_standby'), (SELECT pg_catalog.format('%I.%I', nspname, proname) "
    "FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = pronamespace "
    "WHERE proname = 'pgpool_restart_as_standby' LIMIT 1), "
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.pg_current_wal_lsn() END, "
    "pg_catalog.current_setting('primary_slot_name')";
constexpr const char* kStandby =
    "SELECT pg_catalog.pg_is_in_recovery(), EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver "
    "WHERE status = 'streaming'), pg_catalog.pg_last_wal_replay_lsn(), "
    "pg_catalog.current_setting('primary_conninfo'), pg_catalog.current_setting('primary_slot_name')";
// Clients of ours and of others; what only reads is waited for as well, so that nobody gets an error.
constexpr const char* kBusy =
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' "
    "AND pid <> pg_catalog.pg_backend_pid() AND state <> 'idle'";

}  // namespace

Switchover::Switchover(const ProbeMeans& means, Log& log, Done done)
    : means_(means), log_(log), done_(std::move(done)) {}

Switchover::~Switchover() { means_.loop.cancel(timer_); }

void Switchover::cancel() {
  means_.loop.cancel(std::exchange(timer_, 0));
  // One of them may be calling us: they go when its call has returned.
  means_.loop.defer([from = std::exchange(from_, nullptr), to = std::exchange(to_, nullptr)] {});
}

void Switchover::begin(Job job) {
  cancel();
  job_ = std::move(job);
  helped_ = false;
}

void Switchover::run(const cluster::SwitchStep& step) {
  step_ = step;
  began_ = means_.loop.now();
  switch (step.kind) {
    case cluster::SwitchStep::check:
      return check();
    case cluster::SwitchStep::drain:
      return drain();
    case cluster::SwitchStep::stop:
      return stop();
  }
}

void Switchover::say(Level level, const std::string& text) {
  const std::string line = "switchover: " + text;
  log_.write(who_, LogLine{.level = level, .text = line});
}

void Switchover::ended(const std::string& problem, bool returned) {
  later([this, event = cluster::SwitchStepEnded{step_.kind, step_.operation, problem, returned}] { done_(event); });
}

void Switchover::later(std::function<void()> work) {
  means_.loop.cancel(timer_);
  timer_ = means_.loop.after(kSwitchPause, [this, work = std::move(work)] {
    timer_ = 0;
    work();
  });
}

// A question that is not answered ends the step.
void Switchover::query(backend::Client& client, const std::string& sql, Take take) {
  const int asked = &client == from_.get() ? job_.from.node.value : job_.to.node.value;
  client.query(sql, Deadline::after(means_.loop.now(), kSwitchStepLimit),
               [this, asked, take = std::move(take)](const Result<backend::Rows>& rows) {
                 if (!rows) return ended(fmt::format("node {} could not be asked: {}", asked, rows.error().text()));
                 take(*rows);
               });
}

// ---- can it work? Nobody waits yet

void Switchover::check() {
  from_ = ask(means_, job_.from, kSwitchStepLimit);
  to_ = ask(means_, job_.to, kSwitchStepLimit);
  facts_ = {};
  facts_.from = step_.from;
  facts_.to = step_.to;
  query(*from_, kPrimary, [this](const backend::Rows& primary) {
    take_primary(primary);
    query(*to_, kStandby, [this](const backend::Rows& standby) {
      take_standby(standby);
      const std::string objection = objection_to(facts_);
      if (!objection.empty()) return ended(objection);
      checkpoint();
    });
  });
}

void Switchover::take_primary(const backend::Rows& rows) {
  facts_.primary = text_of(rows, 0) == "t";
  facts_.superuser = text_of(rows, 1) == "on";
  facts_.hot_standby = text_of(rows, 2) == "on";
  facts_.restart = text_of(rows, 3);
  facts_.written = parse_position(text_of(rows, 4)).value_or(0);
  slot_ = text_of(rows, 5);
}

// Whom the old primary will receive from, and as who: as the other one does now.
void Switchover::take_standby(const backend::Rows& rows) {
  facts_.standby = text_of(rows, 0) == "t";
  facts_.streams = text_of(rows, 1) == "t";
  facts_.replayed = parse_position(text_of(rows, 2)).value_or(0);
  const auto there = cluster::repoint(cluster::running_conninfo(text_of(rows, 3)), job_.to.to.host, job_.to.to.port,
                                      job_.from_application);
  facts_.trouble = there ? "" : there.error().text();
  conninfo_ = there.value_or("");
  if (text_of(rows, 4).empty())
    slot_.clear();
  else if (slot_.empty())
    slot_ = cluster::slot_name_of(job_.from_application);
}

// So that the one at its end, for which writes wait, has little to do.
void Switchover::checkpoint() {
  from_->query("CHECKPOINT", Deadline::after(means_.loop.now(), kCheckpointLimit),
               [this](const Result<backend::Rows>& rows) {
                 if (!rows) return ended("the checkpoint of the primary failed: " + rows.error().text());
                 make_slot();
               });
}

void Switchover::make_slot() {
  if (slot_.empty()) return set_conninfo();
  query(*to_, make_missing_slots({slot_}), [this](const backend::Rows&) { set_conninfo(); });
}

// A primary does not heed them. ALTER SYSTEM cannot stand in a text with others.
void Switchover::set_conninfo() {
  query(*from_, alter_conninfo(conninfo_), [this](const backend::Rows&) {
    query(*from_, "ALTER SYSTEM SET primary_slot_name =" + literal(slot_), [this](const backend::Rows&) {
      query(*from_, "SELECT pg_catalog.pg_reload_conf()", [this](const backend::Rows&) {
        began_ = means_.loop.now();
        wait_for_reload();
      });
    });
  });
}

void Switchover::wait_for_reload() {
  query(*from_, "SELECT pg_catalog.current_setting('primary_conninfo')", [this](const backend::Rows& rows) {
    if (text_of(rows, 0) == conninfo_) return ended({});
    if (means_.loop.now() - began_ > kReloadLimit) return ended("the primary does not take over its primary_conninfo");
    later([this] { wait_for_reload(); });
  });
}

// ---- new writes wait, those under way may end

void Switchover::drain() {
  query(*from_, kBusy, [this](const backend::Rows& rows) {
    const std::string busy = text_of(rows, 0);
    if (busy == "0") return ended({});
    if (means_.loop.now() - began_ < job_.drain_limit) return later([this] { drain(); });
    say(Level::warning, fmt::format("{} sessions of the primary did not end their transactions in time, and are cut "
                                    "off",
                                    busy));
    ended({});
  });
}

// ---- stop the old primary; it comes back as a standby

void Switchover::stop() {
  works_ = false;
  if (from_->broken()) return ended("the connection to the primary is lost, so it could not be told to stop");
  from_->query("SELECT " + facts_.restart + "('fast')", Deadline::after(means_.loop.now(), kSwitchStepLimit),
               [this](const Result<backend::Rows>& rows) { stopped(rows); });
}

void Switchover::stopped(const Result<backend::Rows>& rows) {
  // The end of the connection may be what was asked for; what it does then says whether it was.
  if (!rows && refuses(rows.error(), from_->sqlstate()))
    return ended("the primary could not be restarted: " + rows.error().text());
  later([this] { wait_for_return(); });
}

void Switchover::wait_for_return() {
  const Duration waited = means_.loop.now() - began_;
  if (works_ && waited > kStopLimit)
    return ended(
        fmt::format("node {} was not stopped and is the primary still; a file standby.signal in its data "
                    "directory, if there is one, is to be removed",
                    step_.from.value));
  if (waited > kReturnLimit) {
    say(Level::warning, fmt::format("node {} did not come back as a standby", step_.from.value));
    return ended({}, false);
  }
  if (waited > kRemoteStartAfter && !works_ && !std::exchange(helped_, true)) remote_start();
  look_for_return();
}

void Switchover::look_for_return() {
  ProbeTarget target = job_.from;
  means_.loop.defer([held = std::exchange(from_, nullptr)] {});
  from_ = ask(means_, target, kSwitchStepLimit);
  from_->query("SELECT pg_catalog.pg_is_in_recovery()", Deadline::after(means_.loop.now(), kSwitchStepLimit),
               [this](const Result<backend::Rows>& rows) {
                 if (rows && text_of(*rows, 0) == "t") return ended({});
                 works_ = rows && text_of(*rows, 0) == "f";
                 later([this] { wait_for_return(); });
               });
}

// Something may have ended what was to start it, as a service manager does with all processes of a service.
void Switchover::remote_start() {
  say(Level::log,
      fmt::format("node {} is not back yet, trying pgpool_remote_start of node {}", step_.from.value, step_.to.value));
  to_->query(
      fmt::format("SELECT pgpool_remote_start({},{})", literal(job_.from.to.host), literal(job_.from_data_directory)),
      Deadline::after(means_.loop.now(), kReturnLimit), [this](const Result<backend::Rows>& rows) {
        if (!rows) say(Level::warning, "pgpool_remote_start failed: " + rows.error().text());
      });
}

}  // namespace herdgate::monitor
