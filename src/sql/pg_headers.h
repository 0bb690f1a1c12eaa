// The C headers of the parser, for pg_*.cc alone. They define macros with common names (Min, Max, LOG, ERROR,
// snprintf), so every C++ header that such a file needs must be included before this one.
#pragma once

extern "C" {
#include "postgres.h"
// postgres.h must come first.
#include "mb/pg_wchar.h"
#include "nodes/nodes.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/guc.h"
#include "utils/memutils.h"
}

#undef LOG
#undef INFO
#undef NOTICE
#undef WARNING
#undef snprintf
#undef printf
