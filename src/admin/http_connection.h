// One HTTP connection: reads a request, answers it, then the next.
//
// Shape    Made by HttpServer, which also removes it when it has said so by HttpServer::remove().
// Limits   see http_server.h.
// Threads  the control thread.
#pragma once
#include "admin/http_choice.h"
#include "admin/http_request.h"
#include "admin/http_server.h"

namespace herdgate::admin {

class HttpConnection final : public net::Watcher, public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(HttpServer& server, std::uint64_t id, net::Socket socket);
  ~HttpConnection() override;
  Result<Done> start();
  void on_ready(unsigned ready) override;
  void answer(std::string_view type, std::string body);  // what it has asked for
  void close();

  bool open() const { return phase_ != Phase::closed; }
  // It may be closed to make room for another one.
  bool silent() const { return phase_ == Phase::reading || phase_ == Phase::parting; }
  TimePoint since() const { return since_; }

 private:
  // Their order is that of a request's life; then it begins again or ends.
  enum class Phase : std::uint8_t { reading, asking, sending, parting, closed };
  struct Reply {
    int status = 200;
    std::string_view type;
    std::string body, fields;
  };
  void go_on();
  void enter(Phase phase);
  bool read_request();
  std::size_t read_some();
  void serve(const HttpRequest& request);
  void serve_page(const HttpRequest& request);
  void refuse(int status);
  void send(const Reply& reply);
  void flush();
  void part();
  void rearm();
  Duration patience() const;
  void out_of_patience();

  HttpServer& server_;
  std::uint64_t id_;
  net::Socket socket_;
  HttpRequestReader reader_;
  Bytes input_, output_;
  std::size_t sent_ = 0;
  Phase phase_ = Phase::reading;
  TimePoint since_;  // of the phase; while reading: of the request's first octet
  net::TimerId timer_ = 0, next_turn_ = 0;
  std::size_t parted_bytes_ = 0;
  bool served_one_ = false;
  bool keep_ = false, head_only_ = false, old_ = false;  // of the request being answered
  bool readable_ = false, writable_ = true;
};

}  // namespace herdgate::admin
