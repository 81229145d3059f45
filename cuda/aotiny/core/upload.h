// Large copies from any host memory, such as a mapped file, to a device.
#pragma once

#include <cstddef>

#include "aotiny/core/pinned.h"

namespace aotiny::cuda {

// Copies in the current stream, a chunk at a time: while the device fetches one chunk from pinned
// memory, the host fills the next. Returns when the bytes have arrived. Fails with InvalidState
// while the stream is captured.
void upload_staged(void* destination, int device, const void* source, size_t nbytes,
                   PinnedAllocator& pinned);

}  // namespace aotiny::cuda
