#include "monitor/recovery.h"

#include <fmt/format.h>

#include <utility>

namespace herdgate::monitor {
namespace {

constexpr std::string_view kNoSuchFunction = "42883";

// What a script on another machine can reach.
std::string reachable(const std::string& host) { return host.empty() || host.starts_with('/') ? "localhost" : host; }

}  // namespace

Recovery::Recovery(const ProbeMeans& means, Log& log, Job job, Hooks hooks)
    : means_(means), log_(log), job_(std::move(job)), hooks_(std::move(hooks)) {
  say(fmt::format("starting recovering node {}", job_.target.node.value));
  client_ = ask(means_, job_.source, kConnectLimit);
  client_->query("SET statement_timeout = 0", Deadline::after(means_.loop.now(), kConnectLimit),
                 [this](const Result<backend::Rows>& rows) {
                   if (rows) return first_stage();
                   fail(fmt::format("node recovery failed, unable to connect to main node: {}", job_.source.node.value),
                        rows.error().text());
                 });
}

Recovery::~Recovery() {
  *alive_ = false;
  means_.loop.cancel(timer_);
}

void Recovery::say(const std::string& text, const std::string& detail) {
  log_.write(who_, LogLine{.level = Level::log, .text = text, .detail = detail});
}

void Recovery::end(std::optional<cluster::Refusal> refusal) {
  if (!hooks_.done) return;
  means_.loop.defer([alive = alive_, done = std::exchange(hooks_.done, nullptr), refusal = std::move(refusal)] {
    if (*alive) done(refusal);
  });
}

void Recovery::fail(const std::string& text, const std::string& detail) {
  log_.write(who_, LogLine{.level = Level::warning, .text = text, .detail = detail});
  end(cluster::Refusal{Level::error, text, detail});
}

void Recovery::later(Duration pause, std::function<void()> work) {
  timer_ = means_.loop.after(pause, [this, work = std::move(work)] {
    timer_ = 0;
    work();
  });
}

// ---- scripts

// What to do when the function that was called is not there, or takes other arguments; else empty. There is no way to
// update an older version of the extension.
std::string Recovery::missing() const {
  if (client_->sqlstate() != kNoSuchFunction) return {};
  return fmt::format(
      "Node {} has no such function in database {}: install Herdgate's extension pgpool_recovery there and run CREATE "
      "EXTENSION pgpool_recovery, behind a DROP EXTENSION pgpool_recovery where an older version is installed.",
      job_.source.node.value, job_.source.database);
}

void Recovery::first_stage() {
  if (job_.script.empty()) {
    say(fmt::format("node {} is started with the data it has", job_.target.node.value),
        "recovery_1st_stage_command is empty, so nothing builds it anew.");
    return remote_start();
  }
  const std::string sql = fmt::format(
      "SELECT pgpool_recovery({},{},{},{}, {},{},{})", literal(job_.script), literal(reachable(job_.target.to.host)),
      literal(job_.data_directory), literal(std::to_string(job_.source.to.port)), job_.target.node.value,
      literal(std::to_string(job_.target.to.port)), literal(reachable(job_.source.to.host)));
  say("executing recovery", fmt::format("starting recovery command: \"{}\"", sql));
  client_->query(sql, Deadline::after(means_.loop.now(), job_.script_limit), [this](const Result<backend::Rows>& rows) {
    if (!rows) {
      const std::string what_to_do = missing();
      return fail("executing recovery, execution of command failed at \"1st stage\"",
                  fmt::format("command:\"{}\": {}{}{}", job_.script, rows.error().text(),
                              what_to_do.empty() ? "" : ". ", what_to_do));
    }
    say("node recovery, 1st stage is done");
    remote_start();
  });
}

void Recovery::remote_start() {
  const std::string sql = fmt::format("SELECT pgpool_remote_start({},{})", literal(reachable(job_.target.to.host)),
                                      literal(job_.data_directory));
  say("executing remote start", "start pgpool_remote_start");
  client_->query(sql, Deadline::after(means_.loop.now(), job_.script_limit), [this](const Result<backend::Rows>& rows) {
    if (!rows)
      return fail(fmt::format("executing remote start failed with error: \"{}\"", rows.error().text()), missing());
    began_ = means_.loop.now();
    later(Duration::zero(), [this] { look(); });
  });
}

// ---- the recovered server

void Recovery::look() {
  ProbeTarget target = job_.target;
  target.database = tries_++ < kTriesOfPostgres ? "postgres" : "template1";
  client_ = ask(means_, target, target.connect_limit);
  client_->query("SELECT pg_catalog.pg_is_in_recovery()", Deadline::after(means_.loop.now(), target.connect_limit),
                 [this](const Result<backend::Rows>& rows) { looked(rows); });
}

void Recovery::looked(const Result<backend::Rows>& rows) {
  // The client is calling us: it goes when its call has returned.
  means_.loop.defer([held = std::exchange(client_, nullptr)] {});
  const int node = job_.target.node.value;
  if (!rows) {
    if (means_.loop.now() - began_ < job_.start_limit) return later(kStartPause, [this] { look(); });
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(job_.start_limit).count();
    return fail(fmt::format("postmaster on hostname:\"{}\" database:\"{}\" user:\"{}\" failed to start in {} second",
                            job_.target.to.host, tries_ <= kTriesOfPostgres ? "postgres" : "template1",
                            job_.target.user, seconds),
                rows.error().text());
  }
  say(fmt::format("node recovery, node: {} restarted", node));
  if (text_of(*rows, 0) == "t") return attach();
  fail(fmt::format("node recovery failed, node id: {} is not a standby", node),
       "It was started out of recovery, so it would be a second primary. Look at recovery_1st_stage_command.");
}

// ---- into use

void Recovery::attach() {
  hooks_.attach([this, alive = alive_](const std::optional<cluster::Refusal>& refusal) {
    if (!*alive) return;
    if (refusal) return fail(refusal->text, refusal->detail);
    began_ = means_.loop.now();
    wait_until_in_use();
  });
}

// A failback that waits behind another change is in the queue and comes.
void Recovery::wait_until_in_use() {
  if (!hooks_.in_use() && means_.loop.now() - began_ < kAttachLimit)
    return later(kAttachPause, [this] { wait_until_in_use(); });
  say("recovery done");
  end(std::nullopt);
}

}  // namespace herdgate::monitor
