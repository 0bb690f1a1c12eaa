// One PCP connection: moves bytes between its socket and its conversation, and keeps the time.
//
// Shape    Made by PcpServer, which also removes it when it has said so by PcpServer::remove(). Answers that come
//          after its end are dropped: callbacks hold a weak pointer.
// Limits   see pcp_server.h.
// Threads  the control thread.
#pragma once
#include "admin/pcp_server.h"
#include "pcp/conversation.h"

namespace herdgate::admin {

class PcpConnection final : public net::Watcher, public std::enable_shared_from_this<PcpConnection> {
 public:
  PcpConnection(PcpServer& server, std::uint64_t id, net::Socket socket, std::string peer);
  ~PcpConnection() override;
  Result<Done> start();
  void refuse(const pcp::Trouble& trouble);  // says so and ends
  void on_ready(unsigned ready) override;
  bool counted = true;  // one of the clients that are served

 private:
  enum class Phase : std::uint8_t { open, lingering, closed };
  void go_on();
  void go_on_later();
  bool perform_all();  // false: nothing was to be done
  void check_login(const pcp::CheckLogin& login);
  void login_checked(const std::string& stored, const pcp::CheckLogin& login);
  void run(const pcp::Request& request);
  void answered(PcpCommands::Answer answer);
  bool read_some();
  void flush();
  void linger();
  void close();
  void rearm();
  Duration patience() const;
  void out_of_patience();

  PcpServer& server_;
  std::uint64_t id_;
  net::Socket socket_;
  std::string peer_;
  pcp::Conversation talk_;
  Bytes output_;
  net::TimerId timer_ = 0, next_turn_ = 0;
  TimePoint until_;  // the login's end, then the farewell's
  std::size_t lingered_bytes_ = 0;
  Phase phase_ = Phase::open;
  bool readable_ = false, writable_ = true, going_ = false;
};

}  // namespace herdgate::admin
