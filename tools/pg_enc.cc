// pg_enc: encrypts a password for pool_passwd (AES-256 with a key that the server knows as well), or stores it there.
#include <fmt/format.h>
#include <getopt.h>

#include <cstdlib>
#include <optional>

#include "auth/errc.h"
#include "auth/stored_secret.h"
#include "password_tool.h"

namespace herdgate::tools {
namespace {

constexpr std::string_view kUsage =
    "pg_enc encrypts a password for pool_passwd\n"
    "Usage: pg_enc [OPTIONS] [PASSWORD]\n"
    "  -k, --key-file=FILE     file with the encryption key; default: $PGPOOLKEYFILE, then ~/.pgpoolkey\n"
    "  -K, --enc-key=KEY       the encryption key itself\n"
    "  -P, --prompt-for-key    ask for the encryption key at the terminal\n"
    "  -p, --prompt            ask for the password at the terminal\n"
    "  -m, --update-pass       store the user's entry in pool_passwd\n"
    "  -u, --username=USER     user of the entry; default: the operating system user\n"
    "  -f, --config-file=FILE  pgpool.conf, beside which pool_passwd is found\n"
    "  -i, --input-file=FILE   take user:password lines from FILE\n"
    "  -h, --help              show this text\n";

struct Options : PasswordOptions {
  bool prompt_for_key = false;
  std::string key_file, key;
};

void take_own_option(int c, Options& out) {
  switch (c) {
    case 'k':
      out.key_file = optarg;
      break;
    case 'K':
      out.key = optarg;
      break;
    case 'P':
      out.prompt_for_key = true;
      break;
    default:
      take_option(c, out);
      break;
  }
}

Options read_options(int argc, char** argv) {
  static const option kLong[] = {{"key-file", required_argument, nullptr, 'k'},
                                 {"enc-key", required_argument, nullptr, 'K'},
                                 {"prompt-for-key", no_argument, nullptr, 'P'},
                                 {"prompt", no_argument, nullptr, 'p'},
                                 {"update-pass", no_argument, nullptr, 'm'},
                                 {"username", required_argument, nullptr, 'u'},
                                 {"config-file", required_argument, nullptr, 'f'},
                                 {"input-file", required_argument, nullptr, 'i'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  Options out;
  for (int c = 0; (c = getopt_long(argc, argv, "k:K:Ppmu:f:i:h", kLong, nullptr)) != -1;) take_own_option(c, out);
  take_argument(argc, argv, out);
  return out;
}

// Prompt, then -K, then -k, then $PGPOOLKEYFILE, then ~/.pgpoolkey.
Result<auth::Secret> encryption_key(const Options& options) {
  if (options.prompt_for_key) return ask("encryption key: ");
  if (!options.key.empty()) return auth::Secret(options.key);
  std::string path = options.key_file;
  if (path.empty()) path = auth::key_file_path(std::getenv("PGPOOLKEYFILE"), std::getenv("HOME"));
  if (path.empty()) return fail(auth::Errc::key_missing);
  fmt::print("trying to read key from file {}\n", path);
  HG_TRY(auth::KeyFile file, auth::read_key_file(path));
  if (!file.warning.empty()) fmt::print(stderr, "WARNING: {}\n", file.warning);
  return std::move(file.key);
}

Result<Done> encrypt_one(const Options& options, const auth::Secret& key, const std::string& user, ByteView password) {
  HG_TRY(const std::string text, auth::encrypt_password(password, key.view()));
  if (options.store) return store(options.config_file, user, std::string(auth::kAesPrefix) + text);
  fmt::print("\n{}\npool_passwd string: {}{}\n", text, auth::kAesPrefix, text);
  return Done{};
}

Result<Done> run(const Options& options) {
  HG_TRY(const auth::Secret key, encryption_key(options));
  return each_password(options, "db password: ", [&](const std::string& user, ByteView password) {
    return encrypt_one(options, key, user, password);
  });
}

int pg_enc(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  return run_tool(options, kUsage, [&] { return run(options); });
}

}  // namespace
}  // namespace herdgate::tools

int main(int argc, char** argv) { return herdgate::tools::pg_enc(argc, argv); }
