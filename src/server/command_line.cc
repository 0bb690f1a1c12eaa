#include "server/command_line.h"

#include <fmt/format.h>
#include <getopt.h>

namespace herdgate::server {
namespace {

constexpr int kCheck = 256;  // no short form

constexpr option kLong[] = {
    {"hba-file", required_argument, nullptr, 'a'},
    {"clear-oidmaps", no_argument, nullptr, 'C'},
    {"debug", no_argument, nullptr, 'd'},
    {"discard-status", no_argument, nullptr, 'D'},
    {"config-file", required_argument, nullptr, 'f'},
    {"pcp-file", required_argument, nullptr, 'F'},
    {"help", no_argument, nullptr, 'h'},
    {"key-file", required_argument, nullptr, 'k'},
    {"mode", required_argument, nullptr, 'm'},
    {"dont-detach", no_argument, nullptr, 'n'},
    {"version", no_argument, nullptr, 'v'},
    {"debug-assertions", no_argument, nullptr, 'x'},
    {"check", no_argument, nullptr, kCheck},
    {nullptr, 0, nullptr, 0},
};
// The colon in front makes a missing argument ':' and keeps getopt from printing by itself.
constexpr char kShort[] = ":a:Cdf:F:hk:m:nvxD";

void fail_with(CommandLine& line, std::string problem) {
  line.action = Action::usage_error;
  line.problem = std::move(problem);
}

// The first letter decides, as scripts are used to.
bool set_mode(CommandLine& line, std::string_view word) {
  switch (word.empty() ? '\0' : word.front()) {
    case 's':
      line.stop_mode = StopMode::smart;
      return true;
    case 'f':
      line.stop_mode = StopMode::fast;
      return true;
    case 'i':
      line.stop_mode = StopMode::immediate;
      return true;
    default:
      return false;
  }
}

void take_option(CommandLine& line, int letter) {
  switch (letter) {
    case 'a':
      line.hba_file = optarg;
      break;
    case 'C':
      line.clear_oidmaps = true;
      break;
    case 'd':
      line.debug = true;
      break;
    case 'D':
      line.discard_status = true;
      break;
    case 'f':
      line.config_file = optarg;
      break;
    case 'F':
      line.pcp_file = optarg;
      break;
    case 'h':
      line.action = Action::help;
      break;
    case 'k':
      line.key_file = optarg;
      break;
    case 'm':
      if (!set_mode(line, optarg)) fail_with(line, fmt::format("mode \"{}\" is not smart, fast or immediate", optarg));
      break;
    case 'n':
      line.detach = false;
      break;
    case 'v':
      line.action = Action::version;
      break;
    case 'x':
      line.assertions = true;
      break;
    case kCheck:
      line.action = Action::check;
      break;
    default:
      break;
  }
}

void take_command(CommandLine& line, const std::vector<char*>& words) {
  const auto rest = static_cast<std::size_t>(optind);
  if (rest >= words.size()) return;
  const std::string_view command = words[rest];
  if (rest + 1 < words.size()) return fail_with(line, fmt::format("unexpected argument \"{}\"", words[rest + 1]));
  if (line.action == Action::check) return fail_with(line, fmt::format("--check cannot be used with \"{}\"", command));
  if (command == "stop") {
    line.action = Action::stop;
  } else if (command == "reload") {
    line.action = Action::reload;
  } else {
    fail_with(line, fmt::format("unknown command \"{}\"", command));
  }
}

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& words) {
  std::vector<std::string> own{"pgpool"};  // getopt reorders its words
  own.insert(own.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (std::string& word : own) pointers.push_back(word.data());
  CommandLine line;
  optind = 0;  // begin anew, also after an earlier call
  opterr = 0;
  const int count = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  for (;;) {
    const int before = std::max(optind, 1);
    const int letter = ::getopt_long(count, pointers.data(), kShort, kLong, nullptr);
    if (letter == -1) break;
    if (letter == '?' || letter == ':') {
      const char* what = letter == ':' ? "missing argument of option" : "unknown option";
      const std::string word = optopt > 0 && optopt < kCheck ? fmt::format("-{}", static_cast<char>(optopt))
                                                             : pointers[static_cast<std::size_t>(before)];
      fail_with(line, fmt::format("{} \"{}\"", what, word));
      return line;
    }
    take_option(line, letter);
    // The first of these wins over whatever follows.
    if (line.action == Action::help || line.action == Action::version || line.action == Action::usage_error)
      return line;
  }
  pointers.pop_back();
  take_command(line, pointers);
  return line;
}

std::string version_text() { return "pgpool-II version " HERDGATE_VERSION " (Herdgate)"; }

std::string usage_text() {
  std::string text = version_text();
  text += R"(:
  one endpoint in front of PostgreSQL servers: connection pool, load balancer, failover

Usage:
  pgpool [-f FILE] [-F FILE] [-a FILE] [-k FILE] [-n] [-D] [-C] [-d] [-x]   start
  pgpool [-f FILE] [-m MODE] stop                                         stop the running server
  pgpool [-f FILE] [-a FILE] reload                                       make it read its files again
  pgpool [-f FILE] [-F FILE] [-a FILE] [-k FILE] --check                  read all files, say what is wrong

Files:
  -a, --hba-file FILE      who may come in           (default: pool_hba.conf in the configuration folder)
  -f, --config-file FILE   the main configuration    (default: pgpool.conf there)
  -F, --pcp-file FILE      users of PCP              (default: pcp.conf there)
  -k, --key-file FILE      key for encrypted passwords (default: $PGPOOLKEYFILE, else ~/.pgpoolkey)

Start:
  -C, --clear-oidmaps      forget what memcached knows of tables
  -d, --debug              log debug messages
  -D, --discard-status     forget which nodes were down
  -n, --dont-detach        stay in the foreground and log to stderr
  -x, --debug-assertions   accepted for compatibility; assertions are always on

Stop:
  -m, --mode MODE          smart (default): wait until all clients have left
                           fast: end their sessions; immediate: the same

  -v, --version            print the version and exit
  -h, --help               print this and exit
)";
  return text;
}

}  // namespace herdgate::server
