#include "options.h"

#include <fmt/format.h>
#include <getopt.h>

namespace herdgate::pcp_client {
namespace {

constexpr option kLong[] = {{"host", required_argument, nullptr, 'h'},
                            {"port", required_argument, nullptr, 'p'},
                            {"username", required_argument, nullptr, 'U'},
                            {"no-password", no_argument, nullptr, 'w'},
                            {"password", no_argument, nullptr, 'W'},
                            {"debug", no_argument, nullptr, 'd'},
                            {"verbose", no_argument, nullptr, 'v'},
                            {"node-id", required_argument, nullptr, 'n'},
                            {"watchdog-id", required_argument, nullptr, 'n'},
                            {"process-id", required_argument, nullptr, 'P'},
                            {"all", no_argument, nullptr, 'a'},
                            {"gracefully", no_argument, nullptr, 'g'},
                            {"switchover", no_argument, nullptr, 's'},
                            {"mode", required_argument, nullptr, 'm'},
                            {"scope", required_argument, nullptr, 'S'},
                            {"version", no_argument, nullptr, 'V'},
                            {"help", no_argument, nullptr, '?'},
                            {nullptr, 0, nullptr, 0}};

// Long options may be cut short as long as they are clear: those of one program alone must not make others unclear.
constexpr option kDatabase = {"database", required_argument, nullptr, 'D'};

Stop try_help(const Program& program) {
  return {1, fmt::format("Try \"{} --help\" for more information.\n\n", program.name)};
}

class Reader {
 public:
  explicit Reader(const Program& program) : program_(program) {}

  std::variant<Options, Stop> read(int argc, char** argv) {
    const std::string letters = std::string("h:p:U:wWdv") + program_.own_options;
    std::vector<option> words(std::begin(kLong), std::end(kLong));
    if (program_.subject == Subject::database) words.insert(words.begin(), kDatabase);
    for (int c; (c = getopt_long(argc, argv, letters.c_str(), words.data(), nullptr)) != -1;)
      if (const auto stop = take(c)) return *stop;
    for (int at = optind; at < argc; ++at)
      if (const auto stop = take_argument(argv[at])) return *stop;
    if (program_.number_required && !out_.number) {
      Stop stop = try_help(program_);
      stop.text.insert(0, fmt::format("{}: missing node-id\n", program_.name));
      return stop;
    }
    return out_;
  }

 private:
  std::optional<Stop> take(int c) {
    switch (c) {
      case 'h':
        out_.host = optarg;
        return {};
      case 'p':
        return take_port(optarg);
      case 'U':
        out_.user = optarg;
        return {};
      case 'w':
      case 'W':
        out_.password = c == 'W' ? Options::Ask::always : Options::Ask::never;
        return {};
      case 'd':
        out_.debug = true;
        return {};
      case 'v':
        out_.verbose = true;
        return {};
      case 'a':
        out_.all = true;
        return {};
      case 'g':
        out_.gracefully = true;
        return {};
      case 'n':
      case 'P':
        return take_number(optarg);
      case 'D':
        return take_database(optarg);
      case 'm':
        return take_mode(optarg);
      case 's':
        if (optarg == nullptr) {
          out_.switchover = true;
          return {};
        }
        return take_scope(optarg);
      case 'S':
        return take_scope(optarg);
      default:
        return try_help(program_);
    }
  }

  std::optional<Stop> take_port(const char* text) {
    const auto port = pcp::number_of(text);
    if (!port || *port < kLeastPort || *port > kGreatestPort)
      return Stop{0, fmt::format("{}: Invalid port number \"{}\", must be between 1024 and {}\n", program_.name, text,
                                 kGreatestPort)};
    out_.port = *port;
    return {};
  }

  std::optional<Stop> take_number(const char* text) {
    const auto number = pcp::number_of(text);
    switch (program_.subject) {
      case Subject::none:
      case Subject::database:  // the long option is known to every program, and means nothing here
        return {};
      case Subject::process:
        if (!number || *number <= 0)
          return Stop{0, fmt::format("{}: Invalid process-id \"{}\", must be greater than 0\n", program_.name, text)};
        break;
      case Subject::node:
        if (!number || *number < 0 || *number > kGreatestNode)
          return Stop{0, fmt::format("{}: Invalid node-id \"{}\", must be between 0 and {}\n", program_.name, text,
                                     kGreatestNode)};
        break;
      case Subject::watchdog:
        if (!number || *number < 0)
          return Stop{0,
                      fmt::format("{}: Invalid watchdog-id \"{}\", must be a positive number\n", program_.name, text)};
        break;
    }
    out_.number = number;
    return {};
  }

  // Empty it would mean all databases: a script whose variable is not set must not pause them.
  std::optional<Stop> take_database(std::string_view text) {
    if (text.empty() || text.size() > pcp::kMaxNameBytes)
      return Stop{1, fmt::format("{}: Invalid database name \"{}\", must have between 1 and {} octets\n", program_.name,
                                 text, pcp::kMaxNameBytes)};
    out_.database = text;
    return {};
  }

  std::optional<Stop> take_mode(std::string_view text) {
    for (const std::string_view word : {"smart", "fast", "immediate"}) {
      if (text != word && text != word.substr(0, 1)) continue;
      out_.mode = word.front();
      return {};
    }
    return Stop{1,
                fmt::format("{}: Invalid shutdown mode \"{}\", must be either \"smart\" \"immediate\" or \"fast\" \n",
                            program_.name, text)};
  }

  std::optional<Stop> take_scope(std::string_view text) {
    if (program_.ask == pcp::Ask::drop_cache)
      return Stop{
          1, fmt::format("Invalid argument \"{}\", Try \"{} --help\" for more information.\n", text, program_.name)};
    for (const std::string_view word : {"cluster", "local"}) {
      if (text != word && text != word.substr(0, 1)) continue;
      out_.scope = word.front();
      return {};
    }
    return Stop{1, fmt::format("{}: Invalid command scope \"{}\", must be either \"cluster\" or \"local\" \n",
                               program_.name, text)};
  }

  std::optional<Stop> take_argument(const char* text) {
    if (program_.subject == Subject::database) {
      if (out_.database.empty()) return take_database(text);
    } else if (program_.subject != Subject::none && !out_.number) {
      return take_number(text);
    }
    out_.warnings.push_back(
        fmt::format("{}: Warning: extra command-line argument \"{}\" ignored\n", program_.name, text));
    return {};
  }

  const Program& program_;
  Options out_;
};

}  // namespace

std::variant<Options, Stop> read_options(const Program& program, int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-?") return Stop{0, help_text(program)};
  if (first == "--version" || first == "-V")
    return Stop{0, fmt::format("{} (pgpool-II) {}\n", program.name, HERDGATE_VERSION)};
  return Reader(program).read(argc, argv);
}

pcp::Request request_for(const Program& program, const Options& options) {
  constexpr int kAllNodes = -1, kAllProcesses = 0;
  pcp::Request out;
  out.ask = program.ask;
  switch (program.ask) {
    case pcp::Ask::promote:
      out.option = options.switchover ? pcp::option::kSwitchover : pcp::option::kRoleOnly;
      if (options.gracefully) out.ask = pcp::Ask::promote_gracefully;
      break;
    case pcp::Ask::detach:
      if (options.gracefully) out.ask = pcp::Ask::detach_gracefully;
      break;
    case pcp::Ask::stop:
      if (options.scope == pcp::option::kCluster) out.ask = pcp::Ask::stop_cluster;
      out.option = options.mode;
      break;
    default:
      out.option = options.scope;
  }
  out.name = options.database;
  out.number = options.number.value_or(program.ask == pcp::Ask::process_info ? kAllProcesses : kAllNodes);
  return out;
}

}  // namespace herdgate::pcp_client
