#include "server/command_line.h"

#include <gtest/gtest.h>

namespace herdgate::server {
namespace {

struct Row {
  std::vector<std::string> words;
  Action action;
  // What the line must have set, one letter an option; files as "f=…".
  std::string set;
};

std::string describe(const CommandLine& line) {
  std::string out;
  if (!line.detach) out += "n";
  if (line.debug) out += "d";
  if (line.discard_status) out += "D";
  if (line.clear_oidmaps) out += "C";
  if (line.assertions) out += "x";
  if (line.stop_mode == StopMode::fast) out += "+fast";
  if (line.stop_mode == StopMode::immediate) out += "+immediate";
  if (!line.config_file.empty()) out += " f=" + line.config_file;
  if (!line.pcp_file.empty()) out += " F=" + line.pcp_file;
  if (!line.hba_file.empty()) out += " a=" + line.hba_file;
  if (!line.key_file.empty()) out += " k=" + line.key_file;
  return out;
}

TEST(CommandLine, MeansWhatTheTableSays) {
  const std::vector<Row> rows{
      {{}, Action::start, ""},
      {{"-n"}, Action::start, "n"},
      {{"-D", "-n", "-f", "c", "-F", "p", "-a", "h"}, Action::start, "nD f=c F=p a=h"},
      {{"-D", "-d", "-n", "-fc", "-Fp", "-ah", "-kk"}, Action::start, "ndD f=c F=p a=h k=k"},
      {{"-nDd"}, Action::start, "ndD"},
      {{"-nDfc"}, Action::start, "nD f=c"},
      {{"-xC"}, Action::start, "Cx"},
      {{"--config-file=c", "--pcp-file", "p", "--hba-file", "h", "--key-file", "k", "--dont-detach"},
       Action::start,
       "n f=c F=p a=h k=k"},
      {{"--debug", "--discard-status", "--clear-oidmaps", "--debug-assertions"}, Action::start, "dDCx"},
      {{"--disc"}, Action::start, "D"},  // a long option may be cut while it stays unique
      {{"-f", "first", "-f", "second"}, Action::start, " f=second"},
      {{"stop"}, Action::stop, ""},
      {{"-f", "c", "-m", "f", "stop"}, Action::stop, "+fast f=c"},
      {{"-D", "-n", "-f", "c", "-m", "f", "stop"}, Action::stop, "nD+fast f=c"},
      {{"stop", "-m", "fast"}, Action::stop, "+fast"},
      {{"-mi", "stop"}, Action::stop, "+immediate"},
      {{"--mode=smart", "stop"}, Action::stop, ""},
      {{"-m", "sloppy", "stop"}, Action::stop, ""},  // the first letter decides
      {{"reload"}, Action::reload, ""},
      {{"-f", "c", "reload"}, Action::reload, " f=c"},
      {{"-f", "c", "--check"}, Action::check, " f=c"},
      {{"-v"}, Action::version, ""},
      {{"--version"}, Action::version, ""},
      {{"-h"}, Action::help, ""},
      {{"--help", "nonsense"}, Action::help, ""},
      {{"-c"}, Action::usage_error, ""},
      {{"-nc"}, Action::usage_error, "n"},
      {{"--nonsense"}, Action::usage_error, ""},
      {{"-f"}, Action::usage_error, ""},
      {{"-m", "x", "stop"}, Action::usage_error, ""},
      {{"-m", "", "stop"}, Action::usage_error, ""},
      {{"start"}, Action::usage_error, ""},
      {{"stop", "now"}, Action::usage_error, ""},
      {{"--check", "stop"}, Action::usage_error, ""},
      {{"--", "-n"}, Action::usage_error, ""},
  };
  for (const Row& row : rows) {
    std::string shown;
    for (const auto& word : row.words) shown += " " + word;
    const CommandLine line = parse_command_line(row.words);
    EXPECT_EQ(line.action, row.action) << shown;
    EXPECT_EQ(line.problem.empty(), row.action != Action::usage_error) << shown;
    EXPECT_EQ(describe(line), row.set) << shown;
  }
}

TEST(CommandLine, NamesWhatItDoesNotUnderstand) {
  EXPECT_EQ(parse_command_line({"-n", "-q"}).problem, "unknown option \"-q\"");
  EXPECT_EQ(parse_command_line({"-n", "--quick"}).problem, "unknown option \"--quick\"");
  EXPECT_EQ(parse_command_line({"-f"}).problem, "missing argument of option \"-f\"");
  EXPECT_EQ(parse_command_line({"halt"}).problem, "unknown command \"halt\"");
  EXPECT_EQ(parse_command_line({"stop", "it"}).problem, "unexpected argument \"it\"");
  EXPECT_EQ(parse_command_line({"-m", "gently", "stop"}).problem, "mode \"gently\" is not smart, fast or immediate");
}

TEST(CommandLine, TheThirdWordOfTheVersionIsTheNumber) {
  EXPECT_EQ(version_text(), "pgpool-II version 4.6.1 (Herdgate)");
  EXPECT_EQ(usage_text().rfind(version_text(), 0), 0u);
}

}  // namespace
}  // namespace herdgate::server
