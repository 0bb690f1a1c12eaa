#include "session/identity.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

Identity who(const std::string& user, const std::string& password = "secret") {
  Identity identity{.user = user, .database = "shop", .application = "psql"};
  identity.startup = std::make_shared<vsession::ParameterSet>();
  identity.credentials.kind = auth::Credentials::Kind::plain;
  identity.credentials.user = user;
  identity.credentials.secret = auth::Secret(password);
  return identity;
}

TEST(Identities, SessionsOfOneKindShareOne) {
  Identities known;
  const IdentityPtr first = known.share(who("ann"));
  EXPECT_EQ(known.share(who("ann")), first);
  EXPECT_NE(known.share(who("bob")), first);
}

// Who came with another password must never log in to a server with that of an earlier session.
TEST(Identities, OtherCredentialsAreNotShared) {
  Identities known;
  const IdentityPtr first = known.share(who("ann"));
  const IdentityPtr second = known.share(who("ann", "changed"));
  EXPECT_NE(second, first);
  EXPECT_NE(second->credentials.secret, first->credentials.secret);
  Identity unproved = who("ann", "changed");
  unproved.credentials.admitted = !second->credentials.admitted;
  EXPECT_NE(known.share(std::move(unproved)), second);
}

TEST(Identities, StartUpParametersTellThemApart) {
  Identities known;
  Identity other = who("ann");
  other.startup = std::make_shared<vsession::ParameterSet>(
      std::vector<vsession::Parameter>{{"datestyle", "SET datestyle TO 'ISO'", "ISO"}}, HashKey{});
  const IdentityPtr first = known.share(who("ann"));
  EXPECT_NE(known.share(std::move(other)), first);
}

TEST(Identities, NothingIsKeptOfThoseWhoHaveGone) {
  Identities known;
  const std::weak_ptr<Identity> gone = known.share(who("ann"));
  EXPECT_TRUE(gone.expired());
  for (int i = 0; i < 1000; ++i) known.share(who("user" + std::to_string(i)));
}

}  // namespace
}  // namespace herdgate::session
