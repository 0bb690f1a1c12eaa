#include "auth/digest.h"

#include <gtest/gtest.h>

#include "auth/md5.h"
#include "auth/saslprep.h"

namespace herdgate::auth {
namespace {

std::string hex(ByteView octets) {
  std::string out;
  for (const unsigned char c : octets) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += {kDigits[c >> 4], kDigits[c & 15]};
  }
  return out;
}

// RFC 4648 section 10.
TEST(Base64, AgreesWithTheVectorsOfTheRfcBothWays) {
  const std::pair<std::string_view, std::string_view> vectors[] = {{"", ""},
                                                                   {"f", "Zg=="},
                                                                   {"fo", "Zm8="},
                                                                   {"foo", "Zm9v"},
                                                                   {"foob", "Zm9vYg=="},
                                                                   {"fooba", "Zm9vYmE="},
                                                                   {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : vectors) {
    EXPECT_EQ(base64_encode(plain), text);
    EXPECT_EQ(base64_decode(text), std::optional<Bytes>(plain)) << text;
  }
}

TEST(Base64, RefusesEverythingThatIsNotCanonical) {
  for (const std::string_view text :
       {"Zg=", "Zg", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9v", "Zm9v\n", "Zm9-", "=Zm9", "Zm9v="}) {
    EXPECT_EQ(base64_decode(text), std::nullopt) << text;
  }
}

TEST(Digest, Sha256HmacAndPbkdf2AgreeWithPublishedVectors) {
  EXPECT_EQ(hex(sha256("abc").view()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  // RFC 4231 test case 2.
  EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?").view()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  // RFC 7914 section 11, first 32 octets.
  EXPECT_EQ(hex(pbkdf2_sha256("passwd", "salt", 1).view()),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
}

// The entry is what PostgreSQL 15 stored for: create role u_md5 password 'pencil'.
TEST(Md5, MakesTheEntryThatPostgresqlMakes) {
  EXPECT_EQ(md5_hex("")->substr(), "d41d8cd98f00b204e9800998ecf8427e");  // RFC 1321
  EXPECT_EQ(md5_entry("pencil", "u_md5")->view(), "md56520b9e6d1360465923cccaa4a18e5f0");
}

TEST(Md5, AnswersAChallenge) {
  const auto entry = md5_entry("pencil", "u_md5");
  const std::string salt("\x01\x00\xff\x7f", 4);
  const std::string expected = "md5" + *md5_hex(std::string(entry->view().substr(3)) + salt);
  EXPECT_EQ(md5_answer(entry->view(), salt)->view(), expected);
  // Upper-case digits in a file mean the same entry.
  EXPECT_EQ(md5_answer("md56520B9E6D1360465923CCCAA4A18E5F0", salt)->view(), expected);
  EXPECT_FALSE(md5_answer("md56520", salt));
  EXPECT_FALSE(md5_answer(entry->view(), "abc"));
}

TEST(Md5, ComparesAClearPasswordWithAnEntry) {
  EXPECT_TRUE(*md5_entry_fits("md56520b9e6d1360465923cccaa4a18e5f0", "pencil", "u_md5"));
  EXPECT_FALSE(*md5_entry_fits("md56520b9e6d1360465923cccaa4a18e5f0", "pencil", "other"));
  EXPECT_FALSE(*md5_entry_fits("md56520b9e6d1360465923cccaa4a18e5f0", "Pencil", "u_md5"));
  EXPECT_FALSE(md5_entry_fits("secret", "pencil", "u_md5"));
}

TEST(Saslprep, PreparesLatin1AndLeavesTheRestAlone) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"pencil", "pencil"},
      {"", ""},
      {"I\xC2\xADX", "IX"},  // RFC 4013 section 3: soft hyphen is mapped to nothing
      {"\xC2\xAA", "a"},     // RFC 4013 section 3: NFKC
      {"a\xC2\xA0"
       "b",
       "a b"},                         // no-break space
      {"p\xC3\xA4ss", "p\xC3\xA4ss"},  // precomposed letters stand for themselves
      {"\xC2\xBD", "1\xE2\x81\x84\x32"},
      {"\xC2\xB4", " \xCC\x81"},
      {"\xC2\xAD", "\xC2\xAD"},                  // nothing would be left: used as it is
      {"\x07", "\x07"},                          // RFC 4013 section 3: prohibited, so used as it is
      {"tab\t\xC2\xAA", "tab\t\xC2\xAA"},        // one prohibited character: nothing is changed
      {"\xC2", "\xC2"},                          // broken UTF-8
      {"\xC2\xC2\xAA", "\xC2\xC2\xAA"},          // broken UTF-8
      {"\xCE\xBA\xC2\xAA", "\xCE\xBA\xC2\xAA"},  // beyond Latin-1
  };
  for (const auto& [in, out] : cases) EXPECT_EQ(saslprep(in).view(), out);
}

TEST(Secret, ComparesAndWipes) {
  Secret a(std::string("short")), b(std::string("short")), c(std::string("longer than any small string buffer"));
  EXPECT_TRUE(a == b);
  EXPECT_FALSE(a == c);
  const Secret moved = std::move(c);
  EXPECT_TRUE(c.empty());  // NOLINT(bugprone-use-after-move): that it is empty is the promise
  EXPECT_EQ(moved.view(), "longer than any small string buffer");
  std::string text = "secret";
  const char* const octets = text.data();  // inside the object, so still readable after the wipe
  wipe(text);
  EXPECT_EQ(std::string_view(octets, 6), std::string_view("\0\0\0\0\0\0", 6));
}

TEST(RandomBytes, DoNotRepeat) { EXPECT_NE(random_bytes(16), random_bytes(16)); }

}  // namespace
}  // namespace herdgate::auth
