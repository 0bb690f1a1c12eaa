// The file pgpool_status: which nodes were in use when the proxy last wrote it. Pure: text in, words out.
//
// Shape    line n (from 0) is node n: "up", "down" or "unused", any case, blanks around it ignored. The old binary form
//          (an array of 32-bit native integers, numbers as in NodeStatus) is read too, never written.
// Limits   kMaxNodes lines are looked at; what follows is ignored.
// Errors   none: a line that is no such word counts as up and is named in `complaints`. People edit this file.
// Source   Pgpool-II 4.6 manual, "pgpool_status".
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cluster/view.h"

namespace herdgate::cluster {

enum class SavedStatus : std::uint8_t { up, down, unused };

struct StateFile {
  std::vector<SavedStatus> nodes;  // by node id
  std::vector<std::string> complaints;
};

StateFile parse_state_file(std::string_view bytes);
// Ids that no node has are written as "unused".
std::string print_state_file(const std::vector<Node>& nodes);

}  // namespace herdgate::cluster
