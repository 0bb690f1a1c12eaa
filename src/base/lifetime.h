// Tells the calls on the stack of an object whether the object has been destroyed below them.
//
// Shape    The object has a Lifetime; a call that hands control to others keeps a Lifetime::Watch on its stack and asks
//          it afterwards. A watch is two words on the stack and neither allocates nor counts, for paths that are taken
//          several times for each message. Work that runs later (a timer, a post) needs a shared flag instead.
// Threads  object and watches belong to one thread; watches end in the reverse order of their making, as scopes do.
#pragma once

namespace herdgate {

class Lifetime {
 public:
  Lifetime() = default;
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;
  ~Lifetime() {
    for (Watch* watch = last_; watch != nullptr; watch = watch->before_) watch->of_ = nullptr;
  }

  class Watch {
   public:
// g++ 12 takes the address kept for one that outlives its scope; the destructor takes it back.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer"
#endif
    explicit Watch(Lifetime& of) : of_(&of), before_(of.last_) { of.last_ = this; }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() {
      if (of_ != nullptr) of_->last_ = before_;
    }
    bool alive() const { return of_ != nullptr; }

   private:
    friend class Lifetime;
    Lifetime* of_;
    Watch* before_;
  };

 private:
  Watch* last_ = nullptr;
};

}  // namespace herdgate
