// What a model sees as std::cerr.
//
// A model's entry points print every error besides returning it. aotiny reports the error itself,
// so a model's reference to std::cerr is renamed, when it is opened, to a stream that writes
// nowhere. (The name is short because it takes the place of "_ZSt4cerr".)
#pragma once

#include <ostream>

extern "C" __attribute__((visibility("default"))) std::ostream aotinyerr;
