// herdgate_generate: writes docs/configuration.md and the sample files from the parameter table, docs/jsonlog.md from
// the table of its fields, and docs/metrics.md from that of the metrics.
//
//   herdgate_generate           writes them into the source tree it was built from
//   herdgate_generate --check   exit code 1 when a file there differs
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "admin/metric_table.h"
#include "config/documents.h"
#include "server/log_json.h"

namespace {

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

int run(const std::filesystem::path& root, bool check) {
  int differing = 0;
  auto documents = herdgate::config::documents();
  documents.push_back({"docs/jsonlog.md", herdgate::server::json_document()});
  documents.push_back({"docs/metrics.md", herdgate::admin::metrics_document()});
  for (const auto& [name, text] : documents) {
    const std::filesystem::path path = root / name;
    if (contents(path) == text) continue;
    ++differing;
    if (check) {
      std::fprintf(stderr, "%s differs from its table, run herdgate_generate\n", name.c_str());
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
  const bool check = argc == 2 && std::string_view(argv[1]) == "--check";
  if (argc != 1 && !check) {
    std::fprintf(stderr, "usage: herdgate_generate [--check]\n");
    return 1;
  }
  return run(HG_SOURCE_DIR, check);
}
