// The rules, once: name and sentence. In the order of the enum.
#include <array>

#include "base/assert.h"
#include "route/route.h"

namespace herdgate::route {
namespace {

struct RuleRow {
  Rule rule;
  std::string_view name, sentence;
};

constexpr std::array<RuleRow, kRules> kTable{{
    {Rule::raw_mode, "raw_mode", "In raw mode every statement goes to the main node."},
    {Rule::single_node, "single_node", "Only one node is configured."},
    {Rule::no_live_node, "no_live_node", "No node is live that could take the statement."},
    {Rule::pinned, "pinned",
     "The session is pinned to its server connection by state that cannot be carried elsewhere."},
    {Rule::unparsable, "unparsable", "The text could not be parsed, so it is treated as a write."},
    {Rule::too_deep, "too_deep", "The statement is nested too deeply to be examined, so it is treated as a write."},
    {Rule::multi_statement, "multi_statement", "The text has several statements that do not all just read."},
    {Rule::multi_statement_block, "multi_statement_block",
     "The transaction was opened inside a text of several statements and stays on the primary."},
    {Rule::class_primary, "class_primary", "Statements of this kind go to the primary."},
    {Rule::class_both, "class_both",
     "The statement changes the session or its transaction and takes effect on every connection the session uses."},
    {Rule::transaction_node, "transaction_node",
     "A transaction of isolation REPEATABLE READ or higher stays on one node."},
    {Rule::snapshot_shared, "snapshot_shared",
     "The transaction exports or imports a snapshot, so it is on the primary."},
    {Rule::wrote_always, "wrote_always", "The session wrote before and disable_load_balance_on_write is \"always\"."},
    {Rule::load_balance_off, "load_balance_off", "load_balance_mode is off."},
    {Rule::not_select_like, "not_select_like", "The statement may be read only, but it is not one that is balanced."},
    {Rule::comment_blocks, "comment_blocks",
     "The text does not begin as a SELECT does (a comment leads it), and allow_sql_comments is off."},
    {Rule::transaction_wrote, "transaction_wrote",
     "The transaction wrote before (disable_load_balance_on_write), so its reads go to the primary."},
    {Rule::transaction_failed, "transaction_failed", "The transaction has failed."},
    {Rule::serializable, "serializable", "Isolation SERIALIZABLE is possible on the primary only."},
    {Rule::system_catalog, "system_catalog", "A system catalog is read."},
    {Rule::temporary_table, "temporary_table", "A temporary table is used (check_temp_table)."},
    {Rule::unlogged_table, "unlogged_table", "An unlogged table is used (check_unlogged_table)."},
    {Rule::primary_pattern, "primary_pattern", "The text matches primary_routing_query_pattern_list."},
    {Rule::writing_function, "writing_function",
     "A function is called that writes, by the function lists or because it is volatile."},
    {Rule::dml_adaptive, "dml_adaptive",
     "A table is read that this transaction has written (disable_load_balance_on_write is \"dml_adaptive\")."},
    {Rule::delay_too_large, "delay_too_large", "The load balance node lags too far behind the primary."},
    {Rule::lower_delay_standby, "lower_delay_standby",
     "The load balance node lags too far behind; the least delayed standby is used (prefer_lower_delay_standby)."},
    {Rule::load_balance, "load_balance", "The statement only reads and is balanced."},
    {Rule::redirect, "redirect", "The statement only reads and a redirect preference list names the node."},
    {Rule::follows_prepare, "follows_prepare", "The statement goes where its prepared statement goes."},
    {Rule::unknown_prepare, "unknown_prepare", "No prepared statement of that name is known."},
    {Rule::local_command, "local_command", "The command is answered by Herdgate itself."},
    {Rule::cut_unit, "cut_unit",
     "The extended query had to be sent before its Sync arrived, so it goes to the primary."},
    {Rule::primary_down, "primary_down", "The statement needs the primary, which is not live."},
    {Rule::process_node, "process_node",
     "pg_terminate_backend goes to the node whose process it names; where none is known by that number, to the "
     "primary."},
}};

constexpr bool in_order() {
  for (int i = 0; i < kRules; ++i)
    if (kTable[i].rule != static_cast<Rule>(i)) return false;
  return true;
}
static_assert(in_order(), "the table follows the order of enum class Rule");

constexpr std::array<std::string_view, 6> kClassNames = {"primary", "either",          "both",
                                                         "local",   "same_as_prepare", "all"};

const RuleRow& row(Rule rule) {
  const auto index = static_cast<std::size_t>(rule);
  HG_ASSERT(index < kTable.size());
  return kTable[index];
}

}  // namespace

std::string_view rule_name(Rule rule) { return row(rule).name; }
std::string_view rule_sentence(Rule rule) { return row(rule).sentence; }
std::string_view class_name(Class cls) { return kClassNames[static_cast<std::size_t>(cls)]; }

}  // namespace herdgate::route
