#include "options.h"

#include <fmt/format.h>
#include <getopt.h>
#include <strings.h>

#include <charconv>

namespace herdgate::wd_cli {
namespace {

// The manual's and the help text's spellings of one option are two rows.
constexpr option kLong[] = {{"info", no_argument, nullptr, 'i'},
                            {"inform", required_argument, nullptr, 'I'},
                            {"all", no_argument, nullptr, 'a'},
                            {"node-id", required_argument, nullptr, 'n'},
                            {"node-name", required_argument, nullptr, 'N'},
                            {"node-host", required_argument, nullptr, 'H'},
                            {"node-port", required_argument, nullptr, 'P'},
                            {"config-file", required_argument, nullptr, 'f'},
                            {"conf-file", required_argument, nullptr, 'f'},
                            {"auth-key", required_argument, nullptr, 'k'},
                            {"socket-dir", required_argument, nullptr, 's'},
                            {"ipc-port", required_argument, nullptr, 'p'},
                            {"message", required_argument, nullptr, 'm'},
                            {"verbose", no_argument, nullptr, 'v'},
                            {"version", no_argument, nullptr, 'V'},
                            {"debug", no_argument, nullptr, 'd'},
                            {"help", no_argument, nullptr, 'h'},
                            {nullptr, 0, nullptr, 0}};

constexpr const char* kTryHelp = "Try \"wd_cli --help\" for more information.\n\n";
constexpr const char* kHelp =
    "wd_cli shows the nodes that pgpool's watchdog knows, or tells it that one is dead or alive\n"
    "Usage: wd_cli -i [NODE] [OPTION...]\n"
    "       wd_cli -I DEAD|ALIVE NODE [OPTION...]\n"
    "  -i, --info               show the state of the nodes\n"
    "  -I, --inform=STATE       tell the watchdog that the node is DEAD or ALIVE (external lifecheck)\n"
    "Which node; what is given must all fit:\n"
    "  -a, --all                all nodes, with -i\n"
    "  -n, --node-id=ID         number of the node, as in pgpool_node_id\n"
    "  -N, --node-name=NAME     name of the node\n"
    "  -H, --node-host=HOST     its host\n"
    "  -P, --node-port=PORT     its watchdog port\n"
    "How to reach the watchdog of this machine:\n"
    "  -f, --config-file=FILE   pgpool.conf, beside which pgpool_node_id is found\n"
    "  -s, --socket-dir=FOLDER  folder of the watchdog's socket; default: wd_ipc_socket_dir, without -f /tmp\n"
    "  -p, --ipc-port=PORT      number in its name; default: the node's own wd_port, without -f 9000\n"
    "  -k, --auth-key=KEY       default: wd_authkey, without -f none\n"
    "Others:\n"
    "  -m, --message=TEXT       a reason, for the watchdog's log\n"
    "  -v, --verbose            long output\n"
    "  -d, --debug              say on stderr what is sent and received\n"
    "  -V, --version            print the version\n"
    "  -h, -?, --help           print this text\n";

Stop wrong(std::string text) { return {1, std::move(text)}; }

class Reader {
 public:
  std::variant<Options, Stop> read(int argc, char** argv) {
    for (int c; (c = getopt_long(argc, argv, "iI:an:N:H:P:f:k:s:p:m:vVdh", kLong, nullptr)) != -1;)
      if (const auto stop = take(c)) return *stop;
    for (int at = optind; at < argc; ++at)
      out_.warnings.push_back(fmt::format("wd_cli: Warning: extra command-line argument \"{}\" ignored\n", argv[at]));
    if (const auto stop = contradiction()) return *stop;
    if (!out_.inform && out_.criteria.empty() && !std::exchange(out_.all, true))
      out_.warnings.emplace_back("WARNING: Missing node search criteria. applying --all option\n");
    return out_;
  }

 private:
  std::optional<Stop> take(int c) {
    switch (c) {
      case 'i':
        info_ = true;
        return {};
      case 'I':
        return take_state(optarg);
      case 'n':
        return take_number("node-id", out_.criteria.id);
      case 'P':
        return take_number("node-port", out_.criteria.wd_port);
      case 'p':
        return take_port();
      case 'm':
        return take_message(optarg);
      case 'V':
        return Stop{0, fmt::format("wd_cli (pgpool-II) {}\n", HERDGATE_VERSION)};
      case 'h':
        return Stop{0, kHelp};
      default:
        return take_plain(c);
    }
  }

  std::optional<Stop> take_plain(int c) {
    switch (c) {
      case 'a':
        out_.all = true;
        return {};
      case 'v':
        out_.verbose = true;
        return {};
      case 'd':
        out_.debug = true;
        return {};
      case 'N':
        out_.criteria.name = optarg;
        return {};
      case 'H':
        out_.criteria.host = optarg;
        return {};
      case 'f':
        out_.config_file = optarg;
        return {};
      case 's':
        out_.socket_folder = optarg;
        return {};
      case 'k':
        out_.key = optarg;
        return {};
      default:
        return wrong(kTryHelp);
    }
  }

  std::optional<Stop> take_state(const char* word) {
    out_.inform = true;
    out_.alive = ::strcasecmp(word, "ALIVE") == 0;
    if (out_.alive || ::strcasecmp(word, "DEAD") == 0) return {};
    return wrong(fmt::format("ERROR: Invalid node status \"{}\", Allowed options are DEAD or ALIVE\n", word));
  }

  // Digits alone: a sign or an empty text is a slip, or a variable that a script has not set.
  static std::optional<Stop> take_number(const char* what, std::optional<int>& out) {
    const std::string_view text = optarg;
    int number = 0;
    const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
    if (error != std::errc{} || end != text.end() || text.front() == '-')
      return wrong(fmt::format("ERROR: Invalid value {}, {} can only contain numeric values\n", text, what));
    out = number;
    return {};
  }

  std::optional<Stop> take_port() {
    if (const auto stop = take_number("port", out_.port)) return stop;
    if (*out_.port >= kLeastPort && *out_.port <= kGreatestPort) return {};
    return wrong(fmt::format("ERROR: Invalid port number \"{}\", must be between {} and {}\n", optarg, kLeastPort,
                             kGreatestPort));
  }

  std::optional<Stop> take_message(std::string_view text) {
    if (text.size() > kMaxMessageBytes)
      return wrong(fmt::format("ERROR: the message has more than {} octets\n", kMaxMessageBytes));
    out_.message = text;
    return {};
  }

  std::optional<Stop> contradiction() const {
    if (!info_ && !out_.inform) return wrong(fmt::format("ERROR: Missing operation, give -i or -I\n{}", kTryHelp));
    if (info_ && out_.inform)
      return wrong("ERROR: Invalid option, 'info' and 'inform' are mutually exclusive options\n");
    if (out_.inform && out_.all)
      return wrong(fmt::format("ERROR: Invalid option \"-a --all\" for inform status operation.\n{}", kTryHelp));
    if (out_.inform && out_.criteria.empty())
      return wrong(fmt::format("ERROR: Missing node, give -n, -N, -H or -P with -I\n{}", kTryHelp));
    return {};
  }

  Options out_;
  bool info_ = false;
};

}  // namespace

std::variant<Options, Stop> read_options(int argc, char** argv) {
  // getopt does not tell "-?" from an option that is wrong.
  if (argc > 1 && std::string_view(argv[1]) == "-?") return Stop{0, kHelp};
  return Reader().read(argc, argv);
}

}  // namespace herdgate::wd_cli
