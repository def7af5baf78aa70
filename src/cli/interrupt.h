// Ctrl-C (and SIGTERM, SIGHUP): the first one cancels what runs, the second ends the process.
//
// A thread of its own waits for the signals, so no code runs in signal context. Where the work does
// not answer in time (a library call that cannot be cancelled), that thread says the last words and
// ends the process: the limit is 250 ms whatever the phase.
#pragma once

#include <functional>
#include <string>

#include "heed/model.h"

namespace heed::cli {

// Call before the first thread starts: threads inherit the blocked signals.
void watch_interrupts();

// Fired by the first signal; hand it to everything that can be cancelled.
CancelToken& interrupt_token();

// 128 + the signal that came, 0 when none did.
int interrupt_exit_code();

// What the watching thread prints when the work does not answer. It may read atomics only.
void set_last_words(std::function<std::string()> words);

// With `on`, SIGINT cancels what runs and the program goes on: whoever resets the token is ready
// for the next one. More of them within a second are the same impatience; one that comes later and
// finds the token still cancelled ends the program, as without.
void survive_interrupts(bool on);

// Called before the watching thread ends the process: puts a terminal back as it was.
void set_farewell(void (*restore)());

// The work has seen the cancel and is about to print its own end.
void acknowledge_interrupt();

}  // namespace heed::cli
