// Objects of one kind whose memory serves again: for those that come and go with every client and are larger than what
// malloc() keeps at hand (1 kB of each size; beyond that it cuts and joins blocks each time).
//
// Shape    class T : Recycled<T>. `new T` and `delete` take and give the memory of the calling thread.
// Limits   kKept blocks for each thread; more are freed.
// Threads  any; an object may be deleted on another thread than its own, but by none that is ending (its thread_local
//          objects are gone).
#pragma once
#include <cstddef>
#include <new>

// A sanitizer sees who uses memory that has been given back, so it must not serve again there.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HG_NOTHING_RECYCLED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HG_NOTHING_RECYCLED true
#endif
#endif
#ifndef HG_NOTHING_RECYCLED
#define HG_NOTHING_RECYCLED false
#endif

namespace herdgate {

template <class T>
class Recycled {
 public:
  static constexpr std::size_t kKept = 64;

  static void* operator new(std::size_t size) {
    Stock& stock = mine();
    if (stock.count == 0 || size != sizeof(T)) return ::operator new(size);
    return stock.blocks[--stock.count];
  }
  static void operator delete(void* block, std::size_t size) {
    Stock& stock = mine();
    if (HG_NOTHING_RECYCLED || stock.count == kKept || size != sizeof(T)) return ::operator delete(block);
    stock.blocks[stock.count++] = block;
  }

 private:
  struct Stock {
    void* blocks[kKept];
    std::size_t count = 0;
    ~Stock() {
      while (count > 0) ::operator delete(blocks[--count]);
    }
  };
  static Stock& mine() {
    thread_local Stock stock;
    return stock;
  }
};

}  // namespace herdgate
