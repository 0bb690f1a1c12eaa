#include "config/documents.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "config/errc.h"
#include "config/hba.h"
#include "config/load.h"
#include "config/parameter.h"
#include "config/password_file.h"

namespace herdgate::config {
namespace {

Loaded load_sample(const std::string& text) {
  const FileReader none = [](const std::string& path) -> Result<std::string> { return fail(Errc::unreadable, path); };
  return load_text(text, "pgpool.conf", none, {.strict = true});
}

// The sample with every "#name = value" line taken in.
std::string all_lines_taken(const std::string& sample) {
  std::istringstream in(sample);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    const bool setting = line.size() > 1 && line[0] == '#' && std::isalpha(static_cast<unsigned char>(line[1]));
    out += (setting ? line.substr(1) : line) + "\n";
  }
  return out;
}

TEST(Documents, CommittedFilesAreUpToDate) {
  for (const Document& document : documents()) {
    std::ifstream in(std::string(HG_SOURCE_DIR "/") + document.path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    EXPECT_TRUE(text.str() == document.text) << document.path << " differs, run herdgate_generate";
    EXPECT_TRUE(document.text.ends_with('\n')) << document.path;
    EXPECT_FALSE(document.text.ends_with("\n\n")) << document.path;
  }
}

TEST(Documents, TheSampleIsAUsableConfigurationOfDefaults) {
  const Loaded loaded = load_sample(pgpool_conf_sample());
  EXPECT_FALSE(loaded.has_errors());
  const Settings usual;
  for (const Parameter& p : parameters()) {
    if (!p.alias_of.empty()) continue;
    EXPECT_EQ(p.get(loaded.settings, kNoIndex), p.get(usual, kNoIndex)) << p.name;
  }
}

TEST(Documents, TheSamplesLinesAreTheDefaultsButForTheExamples) {
  const Loaded loaded = load_sample(all_lines_taken(pgpool_conf_sample()));
  for (const Finding& f : loaded.findings) EXPECT_NE(f.severity, Severity::error) << f.where() << " " << f.text;
  const Settings usual;
  for (const Parameter& p : parameters()) {
    if (!p.alias_of.empty() || p.index != Index::none) continue;
    if (p.name == "ssl_key" || p.name == "ssl_cert") continue;  // examples
    EXPECT_EQ(p.get(loaded.settings, kNoIndex), p.get(usual, kNoIndex)) << p.name;
  }
  EXPECT_EQ(loaded.settings.backends.size(), 1u);
}

TEST(Documents, EveryParameterHasItsPlace) {
  const std::string page = configuration_page(), sample = pgpool_conf_sample();
  int left_out = 0;
  for (const Parameter& p : parameters()) {
    EXPECT_NE(page.find("| `" + std::string(p.name)), std::string::npos) << p.name;
    const bool there = sample.find("\n#" + std::string(p.name)) != std::string::npos;
    left_out += there ? 0 : 1;
  }
  EXPECT_EQ(left_out, 6);  // four that the original leaves out, and two old spellings
}

TEST(Documents, OtherSamplesAreUsable) {
  const HbaLoaded hba = parse_hba(pool_hba_sample(), "h");
  EXPECT_FALSE(hba.has_errors());
  EXPECT_EQ(hba.rules.size(), 3u);
  EXPECT_TRUE(parse_pcp_conf(pcp_conf_sample(), "p").findings.empty());
}

}  // namespace
}  // namespace herdgate::config
