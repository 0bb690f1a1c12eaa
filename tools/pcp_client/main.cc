// The pcp_* programs: which one this is, its file name says.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "connection.h"
#include "output.h"
#include "password.h"

namespace herdgate::pcp_client {
namespace {

int complain(const std::string& text, int code) {
  std::fputs(text.c_str(), stderr);
  return code;
}

std::string operating_system_user() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_name : "";
}

// From the file, unless -W wants it typed. Without an entry there it is asked for, if there is somebody to ask.
std::string password_for(const Options& options, const PassKey& key) {
  if (options.password == Options::Ask::always) {
    std::string typed = ask_password();
    if (!typed.empty()) return typed;
  }
  const PassFile file = read_pass_file();
  std::fputs(file.warning.c_str(), stderr);
  if (auto found = find_password(file.text, key)) return *found;
  return options.password == Options::Ask::if_missing && has_terminal() ? ask_password() : "";
}

int run(const Program& program, const Options& options) {
  for (const std::string& warning : options.warnings) std::fputs(warning.c_str(), stderr);
  Login login{
      options.host, options.port, options.user.empty() ? operating_system_user() : options.user, {}, options.debug};
  login.password = password_for(options, {login.host, login.port, login.user});
  auto connection = Connection::open(login);
  if (!connection) return complain(connection.error().text, EXIT_FAILURE);
  const auto reply = connection->ask(request_for(program, options));
  if (!reply) return complain(reply.error().text, EXIT_FAILURE);
  if (options.debug)
    for (const pcp::Trouble& notice : reply->notices) std::fputs(trouble_text(notice).c_str(), stderr);
  if (reply->trouble)
    return complain(trouble_text(*reply->trouble), program.fails_when_refused ? EXIT_FAILURE : EXIT_SUCCESS);
  const auto text = render(program, options, *reply);
  if (!text) return complain(fmt::format("ERROR: {}\n", text.error().text()), EXIT_FAILURE);
  std::fputs(text->c_str(), stdout);
  return EXIT_SUCCESS;
}

int pcp_main(int argc, char** argv) {
  const Program* program = program_called(argc > 0 ? argv[0] : "");
  if (program == nullptr)
    return complain("this program must be called by one of its names, such as pcp_node_info\n", 1);
  const auto read = read_options(*program, argc, argv);
  if (const Stop* stop = std::get_if<Stop>(&read)) return complain(stop->text, stop->exit_code);
  return run(*program, std::get<Options>(read));
}

}  // namespace
}  // namespace herdgate::pcp_client

int main(int argc, char** argv) { return herdgate::pcp_client::pcp_main(argc, argv); }
