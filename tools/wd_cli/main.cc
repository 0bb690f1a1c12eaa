// wd_cli: asks the watchdog of this machine for its nodes, or tells it that one is dead or alive.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "exchange.h"
#include "target.h"

namespace herdgate::wd_cli {
namespace {

int complain(const std::string& text, int code) {
  std::fputs(text.c_str(), stderr);
  return code;
}

// Without the request's octets: the key is among them.
OrFailure<Bytes> ask(const Target& target, ByteView request, bool debug) {
  if (debug)
    fmt::print(stderr, "DEBUG: send to \"{}\": type '{}', {} octets\n", target.socket, request.front(),
               request.size() - kHeaderBytes);
  auto answer = exchange(target.socket, request);
  if (!debug || !answer) return answer;
  const auto packet = first_packet(*answer);
  if (!packet || !*packet) {
    fmt::print(stderr, "DEBUG: received: end of connection\n");
  } else {
    fmt::print(stderr, "DEBUG: received: type '{}', {} octets: {}\n", printable({&(**packet).type, 1}),
               (**packet).json.size(), printable((**packet).json));
  }
  return answer;
}

// The whole packet in these octets, if there is one.
std::optional<Packet> packet_in(ByteView answer) { return first_packet(answer).value_or(std::nullopt); }

OrFailure<std::vector<Node>> ask_nodes(const Target& target, bool debug) {
  constexpr const char* kAttempt = "could not get the list of nodes from the watchdog";
  constexpr const char* kHint =
      "Its log may say more. Where wd_authkey is set, -f names the pgpool.conf that has it, or -k gives it.";
  const auto answer = ask(target, nodes_request(target.key), debug);
  if (!answer) return tl::unexpected<Failure>(answer.error());
  const auto packet = packet_in(*answer);
  if (!packet) return failure(kAttempt, "It closed the connection without an answer.", kHint);
  if (const auto why = refusal(*packet)) return failure(kAttempt, *why, kHint);
  return read_nodes(packet->json);
}

OrFailure<std::vector<Node>> choose(const Options& options, const std::vector<Node>& nodes) {
  auto chosen = options.all ? nodes : matching(nodes, options.criteria);
  if (chosen.empty() && !options.all)
    return failure(
        fmt::format("unable to find the node with the requested criteria\nCriteria:{}", text_of(options.criteria)));
  if (!options.inform || chosen.size() == 1) return chosen;
  std::string ids;
  for (const Node& node : chosen) ids += fmt::format("{}{}", ids.empty() ? "" : ", ", node.id);
  return failure("could not tell which node is meant", fmt::format("These nodes fit: {}.", ids),
                 "-n with the number of one of them says which.");
}

OrFailure<bool> inform(const Options& options, const Target& target, const Node& node) {
  const char* state = options.alive ? "alive" : "dead";
  const auto answer = ask(target, state_request(node.id, options.alive, options.message, target.key), options.debug);
  if (!answer) return tl::unexpected<Failure>(answer.error());
  // No answer but the end of the connection: taken.
  const auto packet = packet_in(*answer);
  const auto why = packet ? refusal(*packet) : std::nullopt;
  if (why)
    return failure(fmt::format("failed to inform watchdog about node id {} is {}", node.id, state), *why,
                   "Its log may say more.");
  fmt::print(stderr, "INFO: informed watchdog about node id {} is {}\n", node.id, state);
  return true;
}

OrFailure<bool> run(const Options& options) {
  const auto target = find_target(options);
  if (!target) return tl::unexpected<Failure>(target.error());
  for (const config::Finding& each : target->findings)
    if (options.debug && each.severity == config::Severity::error)
      fmt::print(stderr, "DEBUG: {}: {}\n", each.where(), each.text);
  const auto nodes = ask_nodes(*target, options.debug);
  if (!nodes) return tl::unexpected<Failure>(nodes.error());
  const auto chosen = choose(options, *nodes);
  if (!chosen) return tl::unexpected<Failure>(chosen.error());
  if (options.inform) return inform(options, *target, chosen->front());
  std::fputs(render(nodes->size(), *chosen, options.verbose).c_str(), stdout);
  return true;
}

int wd_cli_main(int argc, char** argv) {
  const auto read = read_options(argc, argv);
  if (const Stop* stop = std::get_if<Stop>(&read)) return complain(stop->text, stop->exit_code);
  const Options& options = std::get<Options>(read);
  for (const std::string& warning : options.warnings) std::fputs(warning.c_str(), stderr);
  const auto done = run(options);
  return done ? EXIT_SUCCESS : complain(done.error().lines(), EXIT_FAILURE);
}

}  // namespace
}  // namespace herdgate::wd_cli

int main(int argc, char** argv) { return herdgate::wd_cli::wd_cli_main(argc, argv); }
