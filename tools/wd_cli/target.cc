#include "target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

#include "base/ids.h"
#include "config/errc.h"

namespace herdgate::wd_cli {
namespace {

Result<std::string> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  char buffer[65536];
  while (text.size() <= config::kMaxConfigBytes && (file.read(buffer, sizeof buffer) || file.gcount() > 0))
    text.append(buffer, static_cast<std::size_t>(file.gcount()));
  if (!file.is_open() || file.bad())  // a folder opens and cannot be read
    return fail(config::Errc::unreadable, fmt::format("\"{}\": {}", path, std::generic_category().message(errno)));
  return text;
}

OrFailure<int> own_port(const config::Settings& settings) {
  const std::string path = settings.beside_config("pgpool_node_id");
  const char* const attempt = "could not find out which node this is";
  const char* const hint = "The file beside pgpool.conf holds this node's number, 0 to 127; -p does without it.";
  const auto text = read_file(path);
  if (!text) return failure(attempt, text.error().text() + ".", hint);
  const auto number = node_number(*text);
  if (!number) return failure(attempt, fmt::format("\"{}\" does not hold a number of a node.", path), hint);
  const auto node = std::ranges::find(settings.watchdog_nodes, *number, &config::WatchdogNode::id);
  if (node != settings.watchdog_nodes.end() && node->wd_port != 0) return node->wd_port;
  return failure("could not find out the watchdog's port",
                 fmt::format("\"{}\" has no usable wd_port{}; {} is the number in \"{}\".", settings.config_file,
                             *number, *number, path),
                 "-p gives the port; -d shows what is wrong in the file.");
}

}  // namespace

std::optional<int> node_number(std::string_view text) {
  constexpr const char* kBlanks = " \t\r\n";
  const std::size_t first = std::min(text.find_first_not_of(kBlanks), text.size());
  text.remove_prefix(first);
  text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
  int number = -1;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
  if (error != std::errc{} || end != text.end() || number < 0 || number >= kMaxNodes) return {};
  return number;
}

OrFailure<Target> find_target(const Options& options) {
  std::string folder = kDefaultSocketFolder;
  int port = kDefaultPort;
  Target out;
  if (options.config_file) {
    const auto text = read_file(*options.config_file);
    if (!text) return failure("could not read the configuration", text.error().text() + ".");
    config::Loaded loaded = config::load_text(*text, *options.config_file, read_file);
    out.findings = std::move(loaded.findings);
    folder = loaded.settings.wd_ipc_socket_dir;
    out.key = loaded.settings.wd_authkey;
    if (!options.port) {
      const auto own = own_port(loaded.settings);
      if (!own) return tl::unexpected<Failure>(own.error());
      port = *own;
    }
  }
  if (options.key) out.key = *options.key;
  out.socket =
      fmt::format("{}/.s.PGPOOLWD_CMD.{}", options.socket_folder.value_or(folder), options.port.value_or(port));
  return out;
}

}  // namespace herdgate::wd_cli
