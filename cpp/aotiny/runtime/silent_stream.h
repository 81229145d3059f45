// What a model sees as std::cerr.
//
// A model's entry points print every error besides returning it. aotiny reports the error itself,
// so what a model prints must not reach the process's stderr. A model's reference to std::cerr is
// renamed, when it is opened, to aotinyerr (the name is short because it takes the place of
// "_ZSt4cerr"); a model with a standard library of its own has a std::cerr of its own, which is
// redirected. Both keep the text for take_printed().
#pragma once

#include <ostream>
#include <string>

namespace aotiny {

// Makes a stream keep what is printed to it instead; for as long as the process lives.
void silence(std::ostream& stream);

// What models have printed on this thread since the last call; of much text, the beginning.
std::string take_printed();

}  // namespace aotiny

extern "C" __attribute__((visibility("default"))) std::ostream aotinyerr;
