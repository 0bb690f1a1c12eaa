// The children of every node type. The lists of fields come with libpg_query: it generates them from PostgreSQL's
// headers for its own output functions, as macros. Here the macros for pointers to nodes mean "visit this" and all
// others mean nothing, so that no node type and no field can be forgotten.
#include "sql/pg_walk.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"

#define OUT_TYPE(type, type_c) ::herdgate::sql::Walk&
#define WRITE_LIST_FIELD(name, json, field) out.visit_list(node->field)
#define WRITE_NODE_FIELD(name, json, field) out.visit(&node->field)
#define WRITE_NODE_PTR_FIELD(name, json, field) out.visit(node->field)
// The only one is the CREATE TABLE inside CREATE FOREIGN TABLE, which carries the outer node's tag: visited by its tag
// it would never end.
#define WRITE_SPECIFIC_NODE_FIELD(type, underscore, name, json, field) _out##type(out, &node->field)
#define WRITE_SPECIFIC_NODE_PTR_FIELD(type, underscore, name, json, field) out.visit(node->field)
#define WRITE_INT_FIELD(name, json, field)
#define WRITE_UINT_FIELD(name, json, field)
#define WRITE_UINT64_FIELD(name, json, field)
#define WRITE_LONG_FIELD(name, json, field)
#define WRITE_CHAR_FIELD(name, json, field)
#define WRITE_ENUM_FIELD(type, name, json, field)
#define WRITE_FLOAT_FIELD(name, json, field)
#define WRITE_BOOL_FIELD(name, json, field)
#define WRITE_STRING_FIELD(name, json, field)
#define WRITE_BITMAPSET_FIELD(name, json, field)

namespace {

// Value nodes and lists of numbers, which the generated file leaves to its user.
template <class Leaf>
void no_children(const Leaf*) {}
#define _outInteger(out, node) no_children(node)
#define _outBoolean(out, node) no_children(node)
#define _outFloat(out, node) no_children(node)
#define _outString(out, node) no_children(node)
#define _outBitString(out, node) no_children(node)
#define _outIntList(out, node) no_children(node)
#define _outOidList(out, node) no_children(node)
#define _outAConst(out, node) no_children(node)
#define _outList(out, node) (out).visit_list(node)

#include "pg_query_outfuncs_defs.c"

}  // namespace

#pragma GCC diagnostic pop

namespace herdgate::sql {

void Walk::visit_children(const ::Node* node) {
#define OUT_NODE(type, type_c, underscore, upcase, type_cast, field) \
  _out##type_c(*this, reinterpret_cast<const type_cast*>(node))
  switch (nodeTag(node)) {
#include "pg_query_outfuncs_conds.c"
    default:
      out_.too_deep = true;
  }
}

}  // namespace herdgate::sql
