#include "wire/types.h"

namespace herdgate::wire {

std::string_view frontend_name(char type) {
  switch (type) {
    case fe::kBind:
      return "Bind";
    case fe::kClose:
      return "Close";
    case fe::kCopyData:
      return "CopyData";
    case fe::kCopyDone:
      return "CopyDone";
    case fe::kCopyFail:
      return "CopyFail";
    case fe::kDescribe:
      return "Describe";
    case fe::kExecute:
      return "Execute";
    case fe::kFlush:
      return "Flush";
    case fe::kFunctionCall:
      return "FunctionCall";
    case fe::kParse:
      return "Parse";
    case fe::kPassword:
      return "PasswordMessage";
    case fe::kQuery:
      return "Query";
    case fe::kSync:
      return "Sync";
    case fe::kTerminate:
      return "Terminate";
    default:
      return "";
  }
}

std::string_view backend_name(char type) {
  switch (type) {
    case be::kAuthentication:
      return "Authentication";
    case be::kBackendKeyData:
      return "BackendKeyData";
    case be::kBindComplete:
      return "BindComplete";
    case be::kCloseComplete:
      return "CloseComplete";
    case be::kCommandComplete:
      return "CommandComplete";
    case be::kCopyBoth:
      return "CopyBothResponse";
    case be::kCopyData:
      return "CopyData";
    case be::kCopyDone:
      return "CopyDone";
    case be::kCopyIn:
      return "CopyInResponse";
    case be::kCopyOut:
      return "CopyOutResponse";
    case be::kDataRow:
      return "DataRow";
    case be::kEmptyQuery:
      return "EmptyQueryResponse";
    case be::kError:
      return "ErrorResponse";
    case be::kFunctionResult:
      return "FunctionCallResponse";
    case be::kNegotiate:
      return "NegotiateProtocolVersion";
    case be::kNoData:
      return "NoData";
    case be::kNotice:
      return "NoticeResponse";
    case be::kNotification:
      return "NotificationResponse";
    case be::kParameterDescription:
      return "ParameterDescription";
    case be::kParameterStatus:
      return "ParameterStatus";
    case be::kParseComplete:
      return "ParseComplete";
    case be::kPortalSuspended:
      return "PortalSuspended";
    case be::kReady:
      return "ReadyForQuery";
    case be::kRowDescription:
      return "RowDescription";
    default:
      return "";
  }
}

}  // namespace herdgate::wire
