#include "target.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace herdgate::wd_cli {
namespace {

class Targets : public testing::Test {
 protected:
  Targets() {
    std::string name = std::filesystem::temp_directory_path() / "hg-wd-cli-XXXXXX";
    folder = ::mkdtemp(name.data());
    write("pgpool.conf",
          "use_watchdog = on\nwd_ipc_socket_dir = '/run/wd'\nwd_authkey = 'secret'\nhostname0 = 'a'\nwd_port0 = 9100\n"
          "hostname1 = 'b'\nwd_port1 = 9101\nhostname2 = 'c'\nwd_port3 = 80\n");
    write("pgpool_node_id", "1\n");
    options.config_file = folder + "/pgpool.conf";
  }
  ~Targets() override { std::filesystem::remove_all(folder); }
  void write(const char* name, const std::string& text) { std::ofstream(folder + "/" + name) << text; }
  Target found() { return find_target(options).value_or(Target{}); }
  std::string trouble() {
    const auto target = find_target(options);
    return target ? "" : target.error().lines();
  }

  std::string folder;
  Options options;
};

TEST_F(Targets, FromTheFile) {
  EXPECT_EQ(found().socket, "/run/wd/.s.PGPOOLWD_CMD.9101");
  EXPECT_EQ(found().key, "secret");
  write("pgpool_node_id", "0");
  EXPECT_EQ(found().socket, "/run/wd/.s.PGPOOLWD_CMD.9100");
}

TEST_F(Targets, OptionsGoFirst) {
  options.socket_folder = "/other";
  options.key = "";
  EXPECT_EQ(found().socket, "/other/.s.PGPOOLWD_CMD.9101");
  EXPECT_EQ(found().key, "");
  std::filesystem::remove(folder + "/pgpool_node_id");
  options.port = 9555;
  EXPECT_EQ(found().socket, "/other/.s.PGPOOLWD_CMD.9555");
}

TEST_F(Targets, WithoutAFile) {
  options.config_file.reset();
  EXPECT_EQ(found().socket, "/tmp/.s.PGPOOLWD_CMD.9000");
  EXPECT_EQ(found().key, "");
}

TEST_F(Targets, WhatIsMissing) {
  for (const char* number : {"2", "3", "7"}) {
    write("pgpool_node_id", number);
    EXPECT_NE(trouble().find(std::string("has no usable wd_port") + number), std::string::npos) << trouble();
  }
  for (const char* text : {"", "x", "-1", "128", "1 2", "99999999999999999999"}) {
    write("pgpool_node_id", text);
    EXPECT_NE(trouble().find("does not hold a number"), std::string::npos) << trouble();
  }
  std::filesystem::remove(folder + "/pgpool_node_id");
  EXPECT_NE(trouble().find("pgpool_node_id\": No such file"), std::string::npos) << trouble();
  options.config_file = folder;
  EXPECT_NE(trouble().find("\": Is a directory"), std::string::npos) << trouble();
  options.config_file = folder + "/none";
  EXPECT_NE(trouble().find("ERROR: could not read the configuration\nDETAIL: "), std::string::npos) << trouble();
}

TEST(NodeNumber, Read) {
  EXPECT_EQ(node_number(" 12\r\n"), 12);
  EXPECT_EQ(node_number("127"), 127);
  EXPECT_EQ(node_number(" \n"), std::nullopt);
  EXPECT_EQ(node_number("1.0"), std::nullopt);
}

}  // namespace
}  // namespace herdgate::wd_cli
