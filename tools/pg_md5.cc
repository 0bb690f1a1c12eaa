// pg_md5: prints the md5 of a password for pcp.conf, or stores a user's md5 entry in pool_passwd.
#include <fmt/format.h>
#include <getopt.h>

#include <cstdlib>

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

struct Options {
  bool prompt = false, store = false, help = false, wrong = false;
  std::string user, config_file = default_config_file(), input_file, password;
};

Options read_options(int argc, char** argv) {
  static const option kLong[] = {{"prompt", no_argument, nullptr, 'p'},
                                 {"md5auth", no_argument, nullptr, 'm'},
                                 {"username", required_argument, nullptr, 'u'},
                                 {"config-file", required_argument, nullptr, 'f'},
                                 {"input-file", required_argument, nullptr, 'i'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  Options out;
  for (int c = 0; (c = getopt_long(argc, argv, "pmu:f:i:h", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'p':
        out.prompt = true;
        break;
      case 'm':
        out.store = true;
        break;
      case 'u':
        out.user = optarg;
        break;
      case 'f':
        out.config_file = optarg;
        break;
      case 'i':
        out.input_file = optarg;
        break;
      case 'h':
        out.help = true;
        break;
      default:
        out.wrong = true;
        break;
    }
  }
  if (optind < argc) out.password = argv[optind++];
  // Exactly one source of passwords, and nothing left over.
  const int sources = (out.prompt ? 1 : 0) + (out.input_file.empty() ? 0 : 1) + (out.password.empty() ? 0 : 1);
  out.wrong = out.wrong || sources != 1 || optind < argc;
  return out;
}

Result<Done> hash_one(const Options& options, const std::string& user, ByteView password) {
  if (options.store) {
    HG_TRY(const auth::Secret entry, auth::md5_entry(password, user));
    return store(options.config_file, user, std::string(entry.view()));
  }
  HG_TRY(const std::string hex, auth::md5_hex(password));
  fmt::print("{}\n", hex);
  return Done{};
}

Result<Done> run(const Options& options) {
  if (!options.input_file.empty()) {
    return read_pairs(options.input_file,
                      [&](const std::string& user, ByteView password) { return hash_one(options, user, password); });
  }
  std::string user = options.user;
  if (options.store && user.empty()) {
    HG_TRY(user, operating_system_user());
  }
  if (!options.prompt) return hash_one(options, user, options.password);
  HG_TRY(const auth::Secret typed, ask("password: "));
  return hash_one(options, user, typed.view());
}

int pg_md5(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  if (options.help || options.wrong) {
    fmt::print(options.help ? stdout : stderr, "{}", kUsage);
    return options.help ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  const auto done = run(options);
  return done ? EXIT_SUCCESS : give_up(done.error());
}

}  // namespace
}  // namespace herdgate::tools

int main(int argc, char** argv) { return herdgate::tools::pg_md5(argc, argv); }
