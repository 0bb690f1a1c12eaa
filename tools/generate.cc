// herdgate_generate: writes docs/configuration.md and the sample files from the parameter table.
//
//   herdgate_generate DIRECTORY           writes them below the source folder
//   herdgate_generate --check DIRECTORY   exit code 1 when a file there differs
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "config/documents.h"

namespace {

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

int run(const std::filesystem::path& root, bool check) {
  int differing = 0;
  for (const auto& [name, text] : herdgate::config::documents()) {
    const std::filesystem::path path = root / name;
    if (contents(path) == text) continue;
    ++differing;
    if (check) {
      std::fprintf(stderr, "%s differs from the parameter table, run herdgate_generate\n", name.c_str());
      continue;
    }
    std::filesystem::create_directories(path.parent_path());
    std::ofstream out(path, std::ios::binary);
    out << text;
    out.close();
    if (!out) {
      std::fprintf(stderr, "could not write \"%s\"\n", path.c_str());
      return 1;
    }
    std::printf("%s\n", name.c_str());
  }
  return check && differing > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool check = argc == 3 && std::string_view(argv[1]) == "--check";
  if (argc != 2 && !check) {
    std::fprintf(stderr, "usage: herdgate_generate [--check] DIRECTORY\n");
    return 1;
  }
  return run(argv[argc - 1], check);
}
