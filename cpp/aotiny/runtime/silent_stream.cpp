#include "aotiny/runtime/silent_stream.h"

#include <algorithm>
#include <streambuf>
#include <utility>

namespace aotiny {
namespace {

constexpr size_t kMaxPrinted = 4096;

// Trivially destructible state would be better for what other code calls at a thread's end, but the
// text has to be somewhere; after the end it is empty.
thread_local std::string t_printed;

class PrintedText final : public std::streambuf {
 protected:
  int_type overflow(int_type character) override {
    if (traits_type::eq_int_type(character, traits_type::eof())) return 0;
    const char text = traits_type::to_char_type(character);
    xsputn(&text, 1);
    return character;
  }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    const size_t room = kMaxPrinted - t_printed.size();
    t_printed.append(text, std::min(room, static_cast<size_t>(size)));
    return size;
  }
};

// Never destroyed: a model's library flushes its streams when it is closed.
PrintedText& printed_text() {
  static PrintedText& instance = *new PrintedText;
  return instance;
}

}  // namespace

void silence(std::ostream& stream) { stream.rdbuf(&printed_text()); }

std::string take_printed() { return std::exchange(t_printed, {}); }

}  // namespace aotiny

std::ostream aotinyerr(&aotiny::printed_text());
