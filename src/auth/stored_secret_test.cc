#include "auth/stored_secret.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "auth/errc.h"

namespace herdgate::auth {
namespace {

using Kind = StoredSecret::Kind;

constexpr std::string_view kVerifier =
    "SCRAM-SHA-256$4096:N5CUuHflqf9YnZECtVADlw==$DZXqp/HB8BCO2Ahg/WDTNm+wr6UlKg8oZ6LVdB/MEnQ=:"
    "8ILcE+YCO88Z2xdDB0CpCKsGJRvTDrYFsPdQwtPwnOg=";

TEST(ParseStored, TellsTheFormsOfPoolPasswdApart) {
  const std::tuple<std::string_view, Kind, std::string_view> cases[] = {
      {"", Kind::none, ""},
      {"md56520b9e6d1360465923cccaa4a18e5f0", Kind::md5, "md56520b9e6d1360465923cccaa4a18e5f0"},
      {"md5 is my password", Kind::plain, "md5 is my password"},
      {"AESqiSVgRwNsmx6kzTHrNFLcg==", Kind::aes, "qiSVgRwNsmx6kzTHrNFLcg=="},
      {"AESTHETIC", Kind::plain, "AESTHETIC"},
      {"AES", Kind::plain, "AES"},
      {"TEXTpencil", Kind::plain, "pencil"},
      {"TEXT", Kind::none, ""},
      {"TEXTmd56520b9e6d1360465923cccaa4a18e5f0", Kind::plain, "md56520b9e6d1360465923cccaa4a18e5f0"},
      {"pencil", Kind::plain, "pencil"},
      {kVerifier, Kind::scram, kVerifier},
  };
  for (const auto& [text, kind, value] : cases) {
    const auto got = parse_stored(text);
    ASSERT_TRUE(got) << text;
    EXPECT_EQ(got->kind, kind) << text;
    EXPECT_EQ(got->value.view(), value) << text;
  }
}

TEST(ParseStored, RefusesABrokenVerifier) {
  const auto got = parse_stored(kVerifier.substr(0, kVerifier.size() - 4));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::bad_verifier);
}

TEST(ParseRolpassword, TakesHashesOnly) {
  EXPECT_EQ(parse_rolpassword(kVerifier)->kind, Kind::scram);
  EXPECT_EQ(parse_rolpassword("md56520b9e6d1360465923cccaa4a18e5f0")->kind, Kind::md5);
  EXPECT_EQ(parse_rolpassword("")->kind, Kind::none);
  EXPECT_EQ(parse_rolpassword("pencil").error().code, Errc::bad_verifier);
}

// The text was made by: printf pencil | openssl enc -aes-256-cbc -nosalt -md sha1 -pass pass:secretkey -base64
TEST(Aes, AgreesWithTheOpensslCommand) {
  EXPECT_EQ(*encrypt_password("pencil", "secretkey"), "qiSVgRwNsmx6kzTHrNFLcg==");
  EXPECT_EQ(decrypt_password("qiSVgRwNsmx6kzTHrNFLcg==", "secretkey")->view(), "pencil");
}

TEST(Aes, EveryLengthComesBack) {
  for (std::size_t length = 1; length <= kMaxPlainBytes; ++length) {
    const std::string password(length, 'x');
    const auto sealed = encrypt_password(password, "k");
    ASSERT_TRUE(sealed);
    EXPECT_LE(kAesPrefix.size() + sealed->size(), 132u);
    EXPECT_EQ(decrypt_password(*sealed, "k")->view(), password);
  }
}

TEST(Aes, RefusesWhatItCannotDo) {
  EXPECT_EQ(encrypt_password("", "k").error().code, Errc::unfit_secret);
  EXPECT_EQ(encrypt_password(std::string(kMaxPlainBytes + 1, 'x'), "k").error().code, Errc::unfit_secret);
  EXPECT_EQ(encrypt_password("pencil", "").error().code, Errc::key_missing);
  EXPECT_EQ(encrypt_password("pencil", std::string(257, 'k')).error().code, Errc::bad_key);
  EXPECT_EQ(decrypt_password("qiSVgRwNsmx6kzTHrNFLcg==", "another").error().code, Errc::bad_key);
  EXPECT_EQ(decrypt_password("qiSVgRwNsmx6kzTHrNFL", "secretkey").error().code, Errc::bad_verifier);
  EXPECT_EQ(decrypt_password("", "secretkey").error().code, Errc::bad_verifier);
}

TEST(Unlock, OpensAesAndLeavesOtherFormsAlone) {
  const StoredSecret sealed = *parse_stored("AESqiSVgRwNsmx6kzTHrNFLcg==");
  const auto open = unlock(sealed, Secret(std::string("secretkey")));
  ASSERT_TRUE(open);
  EXPECT_EQ(open->kind, Kind::plain);
  EXPECT_EQ(open->value.view(), "pencil");
  EXPECT_EQ(unlock(sealed, std::nullopt).error().code, Errc::key_missing);
  EXPECT_EQ(unlock(*parse_stored("md56520b9e6d1360465923cccaa4a18e5f0"), std::nullopt)->kind, Kind::md5);
}

TEST(KeyFile, IsTheFirstLine) {
  EXPECT_EQ(key_from_text("secretkey\nmore\n")->view(), "secretkey");
  EXPECT_EQ(key_from_text("secretkey\r\n")->view(), "secretkey");
  EXPECT_EQ(key_from_text(" blanks stay ")->view(), " blanks stay ");
  const std::string longest(256, 'k');
  EXPECT_EQ(key_from_text(longest)->view().size(), 256u);
  EXPECT_EQ(key_from_text(std::string(257, 'k')).error().code, Errc::bad_key);
  EXPECT_EQ(key_from_text("").error().code, Errc::bad_key);
  EXPECT_EQ(key_from_text("\nkey").error().code, Errc::bad_key);
  EXPECT_EQ(key_from_text(std::string_view("k\0y", 3)).error().code, Errc::bad_key);
}

TEST(KeyFile, ReadableByOthersIsAWarningOnly) {
  const std::string path = testing::TempDir() + "herdgate_key_" + std::to_string(getpid());
  std::ofstream(path) << "secretkey\n";
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  auto key = read_key_file(path);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->key.view(), "secretkey");
  EXPECT_EQ(key->warning, "");
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  key = read_key_file(path);
  ASSERT_TRUE(key);
  EXPECT_NE(key->warning.find("has group or world access"), std::string::npos);
  unlink(path.c_str());
  EXPECT_EQ(read_key_file(path).error().code, Errc::key_missing);
  EXPECT_EQ(read_key_file(testing::TempDir()).error().code, Errc::key_missing);
}

TEST(KeyFile, TheEnvironmentComesBeforeTheHome) {
  EXPECT_EQ(key_file_path("/k", "/home/x"), "/k");
  EXPECT_EQ(key_file_path(nullptr, "/home/x"), "/home/x/.pgpoolkey");
  EXPECT_EQ(key_file_path("", "/home/x"), "/home/x/.pgpoolkey");
  EXPECT_EQ(key_file_path(nullptr, nullptr), "");
}

}  // namespace
}  // namespace herdgate::auth
