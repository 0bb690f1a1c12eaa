// pg_md5: prints the md5 of a password for pcp.conf, or stores a user's md5 entry in pool_passwd.
#include <fmt/format.h>
#include <getopt.h>

#include "auth/digest.h"
#include "auth/md5.h"
#include "password_tool.h"

namespace herdgate::tools {
namespace {

constexpr std::string_view kUsage =
    "pg_md5 prints the md5 hash of a password, or stores it in pool_passwd\n"
    "Usage: pg_md5 [OPTIONS] [PASSWORD]\n"
    "  -p, --prompt            ask for the password at the terminal\n"
    "  -m, --md5auth           store the user's entry in pool_passwd and print nothing\n"
    "  -u, --username=USER     user of the entry; default: the operating system user\n"
    "  -f, --config-file=FILE  pgpool.conf, beside which pool_passwd is found\n"
    "  -i, --input-file=FILE   take user:password lines from FILE\n"
    "  -h, --help              show this text\n";

PasswordOptions read_options(int argc, char** argv) {
  static const option kLong[] = {{"prompt", no_argument, nullptr, 'p'},
                                 {"md5auth", no_argument, nullptr, 'm'},
                                 {"username", required_argument, nullptr, 'u'},
                                 {"config-file", required_argument, nullptr, 'f'},
                                 {"input-file", required_argument, nullptr, 'i'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  PasswordOptions out;
  for (int c = 0; (c = getopt_long(argc, argv, "pmu:f:i:h", kLong, nullptr)) != -1;) take_option(c, out);
  take_argument(argc, argv, out);
  return out;
}

Result<Done> hash_one(const PasswordOptions& options, const std::string& user, ByteView password) {
  if (options.store) {
    HG_TRY(const auth::Secret entry, auth::md5_entry(password, user));
    return store(options.config_file, user, std::string(entry.view()));
  }
  HG_TRY(const std::string hex, auth::md5_hex(password));
  fmt::print("{}\n", hex);
  return Done{};
}

int pg_md5(int argc, char** argv) {
  const PasswordOptions options = read_options(argc, argv);
  const OnPair hash = [&](const std::string& user, ByteView password) { return hash_one(options, user, password); };
  return run_tool(options, kUsage, [&] { return each_password(options, "password: ", hash); });
}

}  // namespace
}  // namespace herdgate::tools

int main(int argc, char** argv) { return herdgate::tools::pg_md5(argc, argv); }
