// What pg_md5 and pg_enc have in common: asking at the terminal, reading user:password files, storing in pool_passwd.
//
// Shape    free functions; the mains are option parsing and the order of the calls.
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

enum class Errc { not_a_terminal = 1, nothing_typed, no_pool_passwd };
HG_DECLARE_ERRC(Errc)

// Without echo. Fails with "stdin is not tty" when there is nobody to ask.
Result<auth::Secret> ask(const char* prompt);

// Each good line of the file in turn, announced as "LINE#01: USER: name"; other lines are named and left out.
using OnPair = std::function<Result<Done>(const std::string& user, ByteView password)>;
Result<Done> read_pairs(const std::string& path, const OnPair& on_pair);

// Adds or replaces the user's line in the pool_passwd file that this pgpool.conf names.
Result<Done> store(const std::string& config_file, const std::string& user, const std::string& secret);

std::string default_config_file();
Result<std::string> operating_system_user();

// Prints the error to stderr; gives the exit code.
int give_up(const Error& error);

}  // namespace herdgate::tools

template <>
struct std::is_error_code_enum<herdgate::tools::Errc> : std::true_type {};
