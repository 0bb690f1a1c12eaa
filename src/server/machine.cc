#include "server/machine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/clock.h"
#include "net/loop.h"
#include "net/socket.h"
#include "server/descriptors.h"
#include "server/files.h"

namespace herdgate::server {
namespace {

using config::Finding;

void warn(std::vector<Finding>& out, std::string text) {
  out.push_back({config::Severity::warning, {}, 0, std::move(text)});
}

// Empty, or why this user can make no file there.
std::string no_file_in(const std::filesystem::path& folder) {
  if (::access((folder / ".").c_str(), W_OK | X_OK) == 0) return {};
  return std::generic_category().message(errno);
}

void look_for_folders(const config::Settings& settings, std::vector<Finding>& out) {
  const auto look = [&](std::string_view parameter, const std::string& folder) {
    std::error_code error;
    if (folder.empty()) return;
    if (!std::filesystem::is_directory(folder, error)) {
      warn(out, fmt::format("{}: there is no folder \"{}\" on this machine", parameter, folder));
    } else if (const std::string why = no_file_in(folder); !why.empty()) {
      warn(out, fmt::format("{}: this user can make no file in \"{}\": {}", parameter, folder, why));
    }
  };
  const std::filesystem::path pid_file = settings.beside_config(settings.pid_file_name);
  look("pid_file_name", pid_file.parent_path().string());
  for (const std::string& folder : settings.unix_socket_directories) look("unix_socket_directories", folder);
  for (const std::string& folder : settings.pcp_socket_dir) look("pcp_socket_dir", folder);
  look("logdir", settings.logdir);
}

// The collector makes the folder, but not the one that it lies in.
void look_for_log_folder(const config::Settings& settings, std::vector<Finding>& out) {
  if (!settings.logging_collector || settings.log_directory.empty()) return;
  std::filesystem::path folder = log_settings(settings).rotation.directory;
  if (!folder.has_filename()) folder = folder.parent_path();  // it ends in a slash
  std::error_code error;
  const bool there = std::filesystem::exists(std::filesystem::symlink_status(folder, error));
  const std::string why = no_file_in(there ? folder : folder.parent_path());
  if (why.empty()) return;
  warn(out, fmt::format("log_directory: this user can make no log file in \"{}\": {}", folder.string(), why));
}

void look_for_group(const config::Settings& settings, std::vector<Finding>& out) {
  std::vector<std::string> folders = settings.unix_socket_directories;
  folders.insert(folders.end(), settings.pcp_socket_dir.begin(), settings.pcp_socket_dir.end());
  std::erase(folders, std::string());
  const std::string& group = settings.unix_socket_group;
  if (group.empty() || folders.empty()) return;
  const auto id = net::group_id(group);
  if (!id) return warn(out, fmt::format("unix_socket_group: {}", id.error().context));
  const auto can_give = [&](const std::string& folder) { return net::may_give_to(*id, folder); };
  if (std::ranges::all_of(folders, can_give)) return;
  warn(out, fmt::format("unix_socket_group: this user is not a member of \"{}\" and cannot give it a socket", group));
}

void look_for_addresses(const config::Settings& settings, std::vector<Finding>& out) {
  const SystemClock clock;
  net::Loop loop(clock);
  const auto look = [&](std::string_view parameter, const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) {
      if (address.empty()) continue;
      const auto tried = net::Listener::tcp(loop, address, /*port=*/0, /*backlog=*/1);
      if (tried) continue;
      warn(out, fmt::format("{}: this machine cannot listen on \"{}\": {}", parameter, address, tried.error().text()));
    }
  };
  look("listen_addresses", settings.listen_addresses);
  look("pcp_listen_addresses", settings.pcp_listen_addresses);
  if (settings.http_port != 0) look("http_listen_addresses", settings.http_listen_addresses);
}

void count_descriptors(const config::Settings& settings, std::vector<Finding>& out) {
  const DescriptorNeed need =
      needed_descriptors(settings.num_init_children, settings.max_pool, settings.backends.size());
  const auto judged = judge_descriptors(need, raise_descriptor_limit());
  if (!judged) {
    warn(out, fmt::format("num_init_children: {}: {}; a start by this user from here is refused",
                          judged.error().code.message(), judged.error().context));
  } else if (*judged) {
    warn(out, fmt::format("num_init_children: {}", **judged));
  }
}

void try_io_method(const config::Settings& settings, std::vector<Finding>& out) {
  if (const std::string why = no_io_method(settings); !why.empty()) warn(out, why + "; a start here is refused");
}

}  // namespace

std::string no_io_method(const config::Settings& settings) {
  if (settings.io_method != config::IoMethod::io_uring) return {};
  const auto usable = net::ring_usable();
  return usable ? std::string() : fmt::format("io_method: {}", usable.error().text());
}

std::vector<Finding> missing_here(const config::Settings& settings) {
  std::vector<Finding> out;
  look_for_folders(settings, out);
  look_for_log_folder(settings, out);
  look_for_group(settings, out);
  look_for_addresses(settings, out);
  count_descriptors(settings, out);
  try_io_method(settings, out);
  return out;
}

}  // namespace herdgate::server
