// A terminal that hands over bytes as they are typed, Ctrl-C and Ctrl-D among them.
#pragma once

namespace heed::cli {

// Until the end of the scope, or until the process ends by a signal: set_farewell() is told. Pasted
// text comes in brackets.
//
// While it holds no key is a signal, so what cancels until its end was sent by no key and stops
// nothing: the interrupt token is clear when it gives the terminal back, and a Ctrl-C from then on
// means what comes next.
class RawTerminal {
 public:
  RawTerminal(int in, int out);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  // Ctrl-Z: gives the terminal back, stops the process, and takes the terminal when it goes on.
  void suspend();

 private:
  int in_, out_;
};

}  // namespace heed::cli
