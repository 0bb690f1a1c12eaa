// Runs the golden files. A mismatch names the file and the line. HERDGATE_GOLDEN_WRITE=1 rewrites the expected sides;
// what it wrote is to be read by a person against the manual before it is committed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "route/golden_case.h"

namespace herdgate::route::golden {
namespace {

constexpr std::string_view kArrow = " => ";
constexpr int kLeastCases = 300;

std::vector<std::filesystem::path> files() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(HG_SOURCE_DIR "/src/route/golden"))
    if (entry.path().extension() == ".txt") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

struct Tally {
  int cases = 0;
  std::set<std::string> rules;
};

bool writes() { return std::getenv("HERDGATE_GOLDEN_WRITE") != nullptr; }

// "\n" in a case stands for a line feed, "\terms" for 3000 times "+1"; leading blanks belong to the statement.
std::string statement_of(std::string_view side) {
  constexpr int kManyTerms = 3000;
  std::string terms;
  for (int i = 0; i < kManyTerms; ++i) terms += "+1";
  std::string out(side);
  const auto replace = [&out](std::string_view what, std::string_view with) {
    for (std::size_t at = 0; (at = out.find(what, at)) != std::string::npos; at += with.size())
      out.replace(at, what.size(), with);
  };
  replace("\\n", "\n");
  replace("\\terms", terms);
  return out;
}

void run_case(const Scenario& scenario, std::string& line, const std::string& file, int number) {
  const auto arrow = line.rfind(kArrow);
  const std::string got = scenario.run(statement_of(std::string_view(line).substr(0, arrow)));
  const std::string expected = line.substr(arrow + kArrow.size());
  if (writes()) {
    line = line.substr(0, arrow) + std::string(kArrow) + got;
  } else if (got != expected) {
    ADD_FAILURE_AT(file.c_str(), number) << line.substr(0, arrow) << "\n  expected: " << expected
                                         << "\n  got:      " << got;
  }
}

void run_line(Scenario& scenario, std::string& line, const std::string& file, int number) {
  try {
    if (scenario.read(line)) return;
    if (line.find(kArrow) == std::string::npos) throw std::runtime_error("neither a header nor a case: " + line);
    run_case(scenario, line, file, number);
  } catch (const std::exception& e) {
    ADD_FAILURE_AT(file.c_str(), number) << e.what();
  }
}

void run_file(const std::filesystem::path& path, Tally& tally) {
  std::vector<std::string> lines = lines_of(path);
  Scenario scenario;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty() || lines[i].front() == '#') continue;
    run_line(scenario, lines[i], path.string(), static_cast<int>(i + 1));
    const auto arrow = lines[i].rfind(kArrow);
    if (arrow == std::string::npos) continue;
    ++tally.cases;
    const auto expected = words(std::string_view(lines[i]).substr(arrow + kArrow.size()), ' ');
    if (expected.size() > 1) tally.rules.insert(expected[1]);
  }
  if (!writes()) return;
  std::ofstream out(path);
  for (const std::string& line : lines) out << line << "\n";
}

TEST(Golden, EveryStatementGoesWhereTheFilesSay) {
  Tally tally;
  for (const auto& path : files()) run_file(path, tally);
  EXPECT_GE(tally.cases, kLeastCases);
  for (int i = 0; i < kRules; ++i) {
    if (static_cast<Rule>(i) == Rule::process_node) continue;
    const std::string name(rule_name(static_cast<Rule>(i)));
    EXPECT_TRUE(tally.rules.contains(name)) << "no golden case is decided by " << name;
  }
}

}  // namespace
}  // namespace herdgate::route::golden
