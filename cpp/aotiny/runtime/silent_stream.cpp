#include "aotiny/runtime/silent_stream.h"

std::ostream aotinyerr(nullptr);
