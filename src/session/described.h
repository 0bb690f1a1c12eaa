// Reads what a server has described a prepared statement as.
//
// Shape    described_as(the payloads of ParameterDescription and of RowDescription, "" for NoData). Columns count by
//          name, type and type modifier, not by the table they come from. Pure.
// Errors   null: one of them cannot be read.
// Source   PostgreSQL manual, "Message Formats".
#pragma once
#include "base/bytes.h"
#include "base/hash.h"
#include "vsession/virtual_session.h"

namespace herdgate::session {

vsession::DescribedPtr described_as(const HashKey& key, ByteView parameters, ByteView columns);

}  // namespace herdgate::session
