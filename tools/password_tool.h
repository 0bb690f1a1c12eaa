// What pg_md5 and pg_enc have in common: the options that say whose password it is, where it comes from and where it
// goes, asking at the terminal, reading user:password files, storing in pool_passwd.
//
// Shape    free functions; a tool has PasswordOptions beside options of its own, and says what is made of one password.
// Limits   a typed or read line has at most kMaxLineBytes; a password file to read at most config::kMaxConfigBytes.
// Errors   Errc, system errors with the path, or the codes of auth and config.
// Threads  none.
// Source   Pgpool-II 4.6 manual, "pg_md5" and "pg_enc".
#pragma once
#include <functional>
#include <string>

#include "auth/secret.h"
#include "base/result.h"

namespace herdgate::tools {

inline constexpr std::size_t kMaxLineBytes = 1024;

std::string default_config_file();

enum class Errc { not_a_terminal = 1, nothing_typed, no_pool_passwd, of_another_user, of_another_group, no_user };
HG_DECLARE_ERRC(Errc)

struct PasswordOptions {
  bool prompt = false, store = false, help = false, wrong = false, user_given = false;
  std::string user, config_file = default_config_file(), input_file, password;
};

// -p -m -u -f -i -h as getopt_long() found them, with `optarg`; any other is wrong.
void take_option(int c, PasswordOptions& out);
// The argument that may be left. Wrong: no password, one from two places, or something behind it.
void take_argument(int argc, char** argv, PasswordOptions& out);

// Without echo. Fails with "stdin is not tty" when there is nobody to ask.
Result<auth::Secret> ask(const char* prompt);

// Each good line of the file in turn, announced as "LINE#01: USER: name"; other lines are named and left out.
using OnPair = std::function<Result<Done>(const std::string& user, ByteView password)>;
Result<Done> read_pairs(const std::string& path, const OnPair& on_pair);

// on_pair for each password that the options lead to. The user is not empty where one is needed to store.
Result<Done> each_password(const PasswordOptions& options, const char* prompt, const OnPair& on_pair);

// Adds or replaces the user's line in the pool_passwd file that this pgpool.conf names.
Result<Done> store(const std::string& config_file, const std::string& user, const std::string& secret);

// Runs the tool unless the options ask for its usage, or are wrong; prints an error to stderr; gives the exit code.
int run_tool(const PasswordOptions& options, std::string_view usage, const std::function<Result<Done>()>& run);

}  // namespace herdgate::tools

template <>
struct std::is_error_code_enum<herdgate::tools::Errc> : std::true_type {};
