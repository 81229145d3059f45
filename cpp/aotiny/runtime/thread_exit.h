// Destructors of the thread-local variables of a model's code.
//
// A library whose code has registered such a destructor stays loaded until the thread ends, and
// every call into a model registers one (for its last error). So a model's __cxa_thread_atexit is
// renamed, when it is opened, to aotiny_thread_exit, which runs the destructors when the thread
// ends or when the model is closed, whichever comes first.
#pragma once

#include <cstdint>

namespace aotiny {

// Runs the destructors, registered by any thread, whose code lies in [begin, end).
void run_thread_destructors(uintptr_t begin, uintptr_t end) noexcept;

}  // namespace aotiny

extern "C" __attribute__((visibility("default"))) int aotiny_thread_exit(void (*destructor)(void*),
                                                                         void* object,
                                                                         void* library);
