#include "session/identity.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

Asked asked_by(const std::string& user) {
  Asked asked{.user = user, .database = "shop", .application = "psql"};
  asked.parameters = std::make_shared<vsession::ParameterSet>();
  return asked;
}

auth::Credentials proof(const std::string& user, const std::string& password = "secret") {
  auth::Credentials credentials;
  credentials.kind = auth::Credentials::Kind::plain;
  credentials.user = user;
  credentials.secret = auth::Secret(password);
  return credentials;
}

TEST(Identities, SessionsOfOneKindShareOne) {
  Identities known;
  const Asked ann = asked_by("ann");
  const IdentityPtr first = known.share(ann, proof("ann"));
  EXPECT_EQ(known.share(ann, proof("ann")), first);
  EXPECT_EQ(known.share(asked_by("ann"), proof("ann")), first);  // in another packet
  EXPECT_NE(known.share(asked_by("bob"), proof("bob")), first);
  EXPECT_EQ(first->epoch_place, catalog::Epochs::place("shop"));
}

// Who came with another password must never log in to a server with that of an earlier session, whether his packet is
// known or not.
TEST(Identities, OtherCredentialsAreNotShared) {
  for (const bool same_packet : {true, false}) {
    Identities known;
    const Asked ann = asked_by("ann"), again = asked_by("ann");
    const IdentityPtr first = known.share(ann, proof("ann"));
    const Asked& asked = same_packet ? ann : again;
    const IdentityPtr second = known.share(asked, proof("ann", "changed"));
    EXPECT_NE(second, first);
    EXPECT_NE(second->credentials.secret, first->credentials.secret);
    auth::Credentials unproved = proof("ann", "changed");
    unproved.admitted = !second->credentials.admitted;
    EXPECT_NE(known.share(asked, unproved), second);
  }
}

TEST(Identities, StartUpParametersTellThemApart) {
  Identities known;
  Asked other = asked_by("ann");
  other.parameters = std::make_shared<vsession::ParameterSet>(
      std::vector<vsession::Parameter>{{"datestyle", "SET datestyle TO 'ISO'", "ISO"}}, HashKey{});
  const IdentityPtr first = known.share(asked_by("ann"), proof("ann"));
  EXPECT_NE(known.share(other, proof("ann")), first);
}

TEST(Identities, NothingIsKeptOfThoseWhoHaveGone) {
  Identities known;
  const Asked ann = asked_by("ann");
  const std::weak_ptr<Identity> gone = known.share(ann, proof("ann"));
  EXPECT_TRUE(gone.expired());
  EXPECT_NE(known.share(ann, proof("ann")), nullptr);
  for (int i = 0; i < 1000; ++i) known.share(asked_by("user" + std::to_string(i)), proof("user"));
}

}  // namespace
}  // namespace herdgate::session
