# ggml's threads wait for each other behind every node with pause instructions alone. With more
# threads than free cores the one that all wait for gets a core only when a time slice ends, several
# milliseconds a node. Here the waits give the core away after about a thousand pauses (some 15 us:
# longer than the spread of balanced work), as heed's own barrier does.
#
# heed_yielding_copy(<ggml-cpu.c> <copy>) writes the changed file, or stops when a place to change is
# not there exactly once: a new version of ggml must be looked at by a person.

# In the CMake language a bracket argument drops the newline behind its opening.
set(HEED_BARRIER_WAIT [[
    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
        ggml_thread_cpu_relax();
    }
]])
set(HEED_BARRIER_WAIT_YIELDS [[
    int spins = 0;
    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
        if (spins < 1000) {
            ++spins;
            ggml_thread_cpu_relax();
        } else {
            sched_yield();
        }
    }
]])
# The rounds of this loop are a measure of time (the `poll` of a pool), so few of them may be slow.
set(HEED_POLL_WAIT [[
        // No new work. Keep polling.
        ggml_thread_cpu_relax();
]])
set(HEED_POLL_WAIT_YIELDS [[
        // No new work. Keep polling.
        ggml_thread_cpu_relax();
        if (i % 1000 == 999) {
            sched_yield();
        }
]])

function(heed_replace_once variable old new file)
  set(content "${${variable}}")
  string(FIND "${content}" "${old}" first)
  string(FIND "${content}" "${old}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${file}: the wait to change is not there exactly once; see "
      "cmake/deps/waits_yield.cmake. It looked like this:\n${old}")
  endif()
  string(REPLACE "${old}" "${new}" content "${content}")
  set(${variable} "${content}" PARENT_SCOPE)
endfunction()

function(heed_yielding_copy source copy)
  file(READ "${source}" text)
  heed_replace_once(text "${HEED_BARRIER_WAIT}" "${HEED_BARRIER_WAIT_YIELDS}" "${source}")
  heed_replace_once(text "${HEED_POLL_WAIT}" "${HEED_POLL_WAIT_YIELDS}" "${source}")
  file(WRITE "${copy}" "${text}")
endfunction()

# Lets the target compile the changed copy in place of its own ggml-cpu.c.
function(heed_waits_yield target)
  get_target_property(sources ${target} SOURCES)
  get_target_property(folder ${target} SOURCE_DIR)
  set(own ${sources})
  list(FILTER own INCLUDE REGEX "(^|/)ggml-cpu/ggml-cpu\\.c$")
  list(LENGTH own count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "${target} has ${count} sources ggml-cpu/ggml-cpu.c, wanted is one; see "
      "cmake/deps/waits_yield.cmake")
  endif()
  get_filename_component(path "${own}" ABSOLUTE BASE_DIR "${folder}")
  set(copy "${CMAKE_CURRENT_BINARY_DIR}/ggml-cpu-yields.c")
  heed_yielding_copy("${path}" "${copy}")
  list(REMOVE_ITEM sources "${own}")
  set_property(TARGET ${target} PROPERTY SOURCES ${sources} "${copy}")
endfunction()
