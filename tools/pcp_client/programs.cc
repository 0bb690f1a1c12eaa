#include "programs.h"

#include <fmt/format.h>

namespace herdgate::pcp_client {
namespace {

using pcp::Ask;

constexpr Program kPrograms[] = {
    {"pcp_attach_node", Ask::attach, Subject::node, true, "n:", Output::success, "takes a node into use again"},
    {"pcp_detach_node", Ask::detach, Subject::node, true, "n:g", Output::success, "takes a node out of use"},
    {"pcp_promote_node", Ask::promote, Subject::node, true, "n:gs", Output::success,
     "makes a node the primary, with --switchover"},
    {"pcp_recovery_node", Ask::recover, Subject::node, true, "n:", Output::success, "recovers a node and attaches it"},
    {"pcp_node_count", Ask::node_count, Subject::none, false, "", Output::node_count, "prints the number of nodes"},
    {"pcp_node_info", Ask::node_info, Subject::node, false, "n:a", Output::node_info, "prints facts about nodes"},
    {"pcp_health_check_stats", Ask::health_check_stats, Subject::node, true, "n:", Output::health_check_stats,
     "prints the health check figures of a node"},
    {"pcp_pool_status", Ask::pool_status, Subject::none, false, "", Output::pool_status, "prints the configuration"},
    {"pcp_proc_count", Ask::process_count, Subject::none, false, "", Output::process_count,
     "prints the ids of the child processes"},
    {"pcp_proc_info", Ask::process_info, Subject::process, false, "P:a", Output::process_info,
     "prints facts about child processes and their connections"},
    {"pcp_watchdog_info", Ask::watchdog_info, Subject::watchdog, false, "n:", Output::watchdog_info,
     "prints facts about the watchdog cluster"},
    {"pcp_stop_pgpool", Ask::stop, Subject::none, false, "m:s:a", Output::success, "stops pgpool"},
    {"pcp_reload_config", Ask::reload, Subject::none, false, "s:", Output::success, "reads the configuration again"},
    {"pcp_log_rotate", Ask::rotate_log, Subject::none, false, "s:", Output::success, "begins a new log file"},
    {"pcp_invalidate_query_cache", Ask::drop_cache, Subject::none, false, "s:", Output::success,
     "empties the query cache"},
    {"pcp_pause", Ask::pause, Subject::database, false, "D:", Output::deed,
     "holds new work in a database, or in all, until pcp_resume or for pause_timeout", true},
    {"pcp_resume", Ask::resume, Subject::database, false, "D:", Output::deed,
     "lets work go on that pcp_pause or PGPOOL PAUSE holds", true},
};

struct OptionHelp {
  char letter;  // of own_options; 0: all programs
  Subject subject;
  const char* line;
};
constexpr OptionHelp kOptionHelp[] = {
    {'n', Subject::node, "  -n, --node-id=ID       number of the node"},
    {'n', Subject::watchdog, "  -n, --watchdog-id=ID   number of the watchdog node; 0: the local one; default: all"},
    {'P', Subject::process, "  -P, --process-id=PID   only this process"},
    {'D', Subject::database, "  -D, --database=NAME    only this database, written as in pg_database; default: all"},
    {'a', Subject::node, "  -a, --all              all nodes"},
    {'a', Subject::process, "  -a, --all              connection slots that are not in use as well"},
    {'m', Subject::none, "  -m, --mode=MODE        smart, fast or immediate; default: smart"},
    {'s', Subject::none, "  -s, --scope=SCOPE      local or cluster (all pgpools of the watchdog); default: local"},
};

std::string options_help(const Program& program) {
  const std::string_view own = program.own_options;
  std::string out;
  for (const OptionHelp& each : kOptionHelp) {
    if (own.find(each.letter) != own.npos && program.subject == each.subject && program.ask != Ask::drop_cache &&
        !(each.letter == 'a' && program.ask == Ask::stop))
      out += fmt::format("{}\n", each.line);
  }
  if (program.ask == Ask::detach) out += "  -g, --gracefully       wait until no session uses the node\n";
  if (program.ask == Ask::promote) {
    out += "  -g, --gracefully       wait until all sessions have ended\n";
    out +=
        "  -s, --switchover       make the present primary a standby and promote the node; without it no server is\n"
        "                         changed: pgpool takes the node for the primary and all others are set down\n";
  }
  return out;
}

}  // namespace

const Program* program_called(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
  for (const Program& each : kPrograms)
    if (each.name == name) return &each;
  return nullptr;
}

std::string help_text(const Program& program) {
  static constexpr const char* kArgument[] = {"", " [NODE-ID]", " [PID]", " [WATCHDOG-ID]", " [DATABASE]"};
  return fmt::format(
      "{0} {1}\n"
      "Usage: {0} [OPTION...]{2}\n"
      "  -h, --host=HOST        host of pgpool, or the folder of its UNIX socket; default: /tmp\n"
      "  -p, --port=PORT        PCP port; default: 9898\n"
      "  -U, --username=NAME    PCP user; default: the operating system user\n"
      "  -w, --no-password      never ask for a password, take it from .pcppass\n"
      "  -W, --password         ask for the password; otherwise only when .pcppass has none\n"
      "{3}"
      "  -d, --debug            say what is sent and received\n"
      "  -v, --verbose          long output\n"
      "  -V, --version          print the version (as the first argument)\n"
      "  -?, --help             print this text (as the first argument)\n",
      program.name, program.task, kArgument[static_cast<std::size_t>(program.subject)], options_help(program));
}

}  // namespace herdgate::pcp_client
