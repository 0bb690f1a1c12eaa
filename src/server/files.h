// Reads all files of the configuration: pgpool.conf, pool_hba.conf, pool_passwd, pcp.conf and the key.
//
// Shape    locate(command line) -> absolute paths; read_files(paths) -> FilesRead{files, findings}. With has_errors()
//          the files must not be put in force.
// Errors   findings with file and line; nothing stops at the first one.
// Threads  blocks on the disk: at start, and on the control thread at a reload.
// Source   Pgpool-II 4.6 manual, "pgpool", "pool_passwd", "Client Authentication".
#pragma once
#include <string>
#include <vector>

#include "config/load.h"
#include "server/command_line.h"
#include "server/log_writer.h"
#include "server/proxy.h"

namespace herdgate::server {

struct FilePaths {
  std::string config, hba, pcp, key;  // hba, key: not read when empty
  bool key_given = false;             // by -k or $PGPOOLKEYFILE: then it must be there
  bool hba_anyway = false;            // hba is looked at, but not in force, while enable_pool_hba is off, too
};
FilePaths locate(const CommandLine& line);

struct FilesRead {
  Files files;
  std::vector<config::Finding> findings;
  bool has_errors() const;
};
// before: at a reload, what is in force. What was there and is not any more is an error then: a tool may be replacing
// it, and without it nobody would get in.
FilesRead read_files(const FilePaths& paths, const config::LoadOptions& options = {}, const Files* before = nullptr);

Result<std::string> read_file(const std::string& path);
LogSettings log_settings(const config::Settings& settings);
Level level_of(config::Severity severity);
std::string finding_text(const config::Finding& finding);  // "pgpool.conf:12: unknown …"

}  // namespace herdgate::server
