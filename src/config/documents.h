// The files made from the parameter table: docs/configuration.md and the samples under etc/.
//
// Shape    documents() -> path below the source folder, and text. They are committed; a test fails when they differ.
// Threads  pure.
#pragma once
#include <string>
#include <vector>

namespace herdgate::config {

struct Document {
  std::string path, text;
};
std::vector<Document> documents();

std::string configuration_page();  // docs/configuration.md
std::string pgpool_conf_sample();
std::string pool_hba_sample();
std::string pcp_conf_sample();

}  // namespace herdgate::config
