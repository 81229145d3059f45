#include "aotiny/runtime/thread_exit.h"

#include <iterator>
#include <list>
#include <mutex>
#include <thread>

namespace aotiny {
namespace {

struct Destructor {
  void (*call)(void*);
  void* object;
  uintptr_t library;  // an address in the library that registered it
  std::thread::id thread;
};

struct Registry {
  std::mutex mutex;
  std::list<Destructor> destructors;  // the latest first

  template <class Condition>
  void run(Condition&& condition) noexcept {
    const std::lock_guard lock(mutex);
    for (auto it = destructors.begin(); it != destructors.end();) {
      if (condition(*it)) {
        it->call(it->object);
        it = destructors.erase(it);
      } else {
        ++it;
      }
    }
  }
};

// Never destroyed: threads may end after the process's static objects have.
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

struct AtThreadExit {
  ~AtThreadExit() {
    registry().run([id = std::this_thread::get_id()](const Destructor& destructor) {
      return destructor.thread == id;
    });
  }
};

}  // namespace

void run_thread_destructors(uintptr_t begin, uintptr_t end) noexcept {
  registry().run([=](const Destructor& destructor) {
    return begin <= destructor.library && destructor.library < end;
  });
}

}  // namespace aotiny

int aotiny_thread_exit(void (*destructor)(void*), void* object, void* library) {
  try {
    thread_local aotiny::AtThreadExit at_thread_exit;
    static_cast<void>(at_thread_exit);
    aotiny::Registry& registry = aotiny::registry();
    const std::lock_guard lock(registry.mutex);
    registry.destructors.push_front(
        {destructor, object, reinterpret_cast<uintptr_t>(library), std::this_thread::get_id()});
    return 0;
  } catch (...) {
    return -1;
  }
}
