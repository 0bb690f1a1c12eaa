// A vector of names without repetitions, in order of first sight. Short ones are searched, long ones get an index, so a
// text with 100,000 names costs no quadratic time.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace herdgate::sql {

template <class Name>  // Relation or Function: {schema, name}
class NameSet {
 public:
  explicit NameSet(std::vector<Name>& out) : out_(out) {}

  void add(std::string_view schema, std::string_view name) {
    if (is_new(schema, name)) out_.push_back(Name{std::string(schema), std::string(name)});
  }
  void add(const Name& name) {
    if (is_new(name.schema, name.name)) out_.push_back(name);
  }

 private:
  bool is_new(std::string_view schema, std::string_view name) {
    if (out_.size() < kSearched) {
      const auto same = [&](const Name& n) { return n.name == name && n.schema == schema; };
      return std::ranges::none_of(out_, same);
    }
    if (index_.empty()) fill_index();
    return index_.insert(key(schema, name)).second;
  }
  static constexpr std::size_t kSearched = 32;
  static std::string key(std::string_view schema, std::string_view name) {
    std::string k(schema);
    k.push_back('\0');  // no name holds it, so the pair is told apart from any other
    return k.append(name);
  }
  void fill_index() {
    for (const Name& n : out_) index_.insert(key(n.schema, n.name));
  }

  std::vector<Name>& out_;
  std::unordered_set<std::string> index_;
};

}  // namespace herdgate::sql
