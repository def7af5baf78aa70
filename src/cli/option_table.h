// What the verbs bind, as data: the completion scripts and the man page are made from it, so they
// cannot tell anything else than --help.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace heed::cli {

struct OptionRow {
  std::vector<std::string> names;  // "-ctk", "--cache-type-k"; a positional has its one name here
  bool positional = false;
  bool required = false;
  bool repeated = false;           // may come more than once
  std::string value;               // placeholder, "MODEL", "FILE", "INT"; empty: a flag
  std::vector<std::string> words;  // all there is to choose from, where the values are words
  bool list = false;               // entries with commas between them
  std::string limits;              // "0 to 512", may be empty
  std::string standard;            // what it is when not given, may be empty
  std::string variable;            // of the environment, may be empty
  std::string text;

  // Models and their short names. By the placeholder, because that is what people read.
  bool takes_model() const { return value == "MODEL" || value == "NAME"; }
  bool takes_file() const { return value == "MODEL" || value == "FILE"; }
};

struct VerbRow {
  std::string name, summary, examples;
  std::vector<OptionRow> options;  // in the order of the help
};

std::vector<VerbRow> option_table();

}  // namespace heed::cli
