// The query cache of one session: under which settings of their logins links give the answers that it finds and keeps.
#include "cache/defaults.h"
#include "session/session.h"

namespace herdgate::session {

using pool::Defaults;

// Asked once for each link, and again when a server may have read its configuration anew. What sessions have set on the
// link is taken off first: it is set again behind the question. What somebody may have set unseen stays out of it.
bool SessionCache::asks_defaults(pool::ServerLink& link) {
  pool::LinkMemory& memory = link.memory;
  const std::uint64_t epoch = s_.worker_.shared().accounts.settings_epoch();
  if (memory.defaults_epoch == epoch || memory.opaque) return false;
  const auto nothing = std::make_shared<const vsession::ParameterSet>();
  const vsession::Replay back = vsession::replay(*memory.parameters, *nothing);
  for (const std::string& sql : back.acknowledged)
    link.link->send_query(sql, backend::Fate::swallow, kNoteAcknowledged);
  for (const std::string& sql : back.ahead) link.link->send_query(sql, backend::Fate::swallow, kNoteAcknowledged);
  memory.parameters = nothing;
  memory.defaults = Defaults::unknown;
  memory.defaults_epoch = epoch;
  defaults_rows_ = std::make_unique<Bytes>();
  link.link->send_query(cache::defaults_question(), backend::Fate::capture, kNoteDefaults);
  return true;
}

void SessionCache::defaults_came(ByteView rows) {
  if (defaults_rows_ && defaults_rows_->size() <= cache::kMaxDefaultsBytes) defaults_rows_->append(rows);
}

void SessionCache::defaults_told(pool::ServerLink& link, bool ok) {
  const std::unique_ptr<Bytes> rows = std::move(defaults_rows_);
  const auto defaults = static_cast<Defaults>(ok && rows ? cache::defaults_of(*rows) : 0);
  if (defaults == Defaults::unknown) {
    HG_LOG(s_.worker_.log(), s_.who_, Level::warning,
           "node {} did not say what settings its sessions begin with: its answers on this connection are not cached",
           link.link->key().node.value);
  }
  // Others who log in now are told other values than what was remembered.
  if (s_.worker_.pool().learned(link, defaults, link.memory.defaults_epoch))
    s_.worker_.shared().logins.forget_reported();
}

Defaults SessionCache::defaults_of(const pool::ServerLink& link) const {
  const bool now = link.memory.defaults_epoch == s_.worker_.shared().accounts.settings_epoch();
  return now ? link.memory.defaults : Defaults::unknown;
}

// As a link would answer: one that the session has; else, where any link may work for it, the newest of its kind on the
// node that reads would go to. In session mode a session has its own link's for good.
Defaults SessionCache::defaults_expected() const {
  // A link tells the client first what it has to read such an answer by.
  if (s_.told_epoch_ != s_.worker_.shared().accounts.settings_epoch()) return Defaults::unknown;
  const Defaults expected = defaults_of_reader();
  const Defaults told = s_.told_defaults_ != Defaults::unknown ? s_.told_defaults_ : newest_of(s_.view().write_node());
  return told == Defaults::unknown || told == expected ? expected : Defaults::unknown;
}

Defaults SessionCache::newest_of(NodeId node) const {
  return node == kNoNode ? Defaults::unknown : s_.key_pool(node)->account->defaults.load(std::memory_order_relaxed);
}

Defaults SessionCache::defaults_of_reader() const {
  const NodeId reader = s_.vs_.state().lb_node;
  if (!s_.links_.empty()) {
    const pool::ServerLink* link = s_.held(reader);
    return defaults_of(link != nullptr ? *link : *s_.links_.front());
  }
  if (s_.settings().pool_mode == config::PoolMode::session) return Defaults::unknown;
  const Defaults newest = newest_of(reader);
  return newest != Defaults::unknown ? newest : newest_of(s_.view().write_node());
}

bool SessionCache::takes_defaults(NodeId node) {
  const pool::ServerLink* link = s_.held(node);
  defaults_ = link != nullptr ? defaults_of(*link) : Defaults::unknown;
  return knows_defaults();
}

// Where they are not known, what is learned of names is for this session alone.
const std::string& SessionCache::default_path() {
  if (default_path_.empty() || path_defaults_ != defaults_) {
    path_defaults_ = defaults_;
    const auto given = static_cast<std::uint64_t>(defaults_);
    // As octets, so that it fits into the string's own room; no path that was set begins with such a one.
    default_path_ = knows_defaults() ? std::string("\0", 1).append(reinterpret_cast<const char*>(&given), sizeof given)
                                     : fmt::format("of session {}", s_.id_.value);
  }
  return default_path_;
}

// A path that was set names things by what the link's login has given too: "$user" is a role's name.
const std::string& SessionCache::path_key() {
  const std::string& set = s_.vs_.search_path_key();
  const std::string& given = default_path();
  if (!defined_ && set.empty()) return given;
  own_path_.assign(given).append(1, '\0').append(set);
  if (defined_) own_path_ += fmt::format(" in session {}", s_.id_.value);
  return own_path_;
}

}  // namespace herdgate::session
