#!/usr/bin/env python3
"""Fails when a file includes a room that is built on its own (HACKING.md, The rooms).

Rules: a room includes itself and the rooms above it; include/heed/ includes itself and the standard
library only; nothing below `model` includes a third-party header.
"""
import pathlib
import re
import sys

ROOMS = ["base", "cpu", "kernels", "linear", "kv", "attention", "select", "mechanisms", "policy", "grad",
         "model", "session", "eval", "lens", "server", "capi", "cli"]
THIRD_PARTY = re.compile(r"^(ggml|gguf|llama|chat\.h|common\.h|nlohmann/|fmt/|CLI/)")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := INCLUDE.match(line):
            yield number, match.group(1)


def room_of(name):
    head = name.split("/")[0]
    return head if "/" in name and head in ROOMS else None


def check_source(path, room, problems):
    for number, name in includes(path):
        other = room_of(name)
        if other and ROOMS.index(other) > ROOMS.index(room):
            problems.append(f"{path}:{number}: room {room} includes {name} of room {other} below")
        if ROOMS.index(room) < ROOMS.index("model") and THIRD_PARTY.match(name):
            problems.append(f"{path}:{number}: libheed is plain C++20, {name} is third-party")


def check_public(path, problems):
    for number, name in includes(path):
        if room_of(name) or THIRD_PARTY.match(name):
            problems.append(f"{path}:{number}: a public header includes {name}")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    problems = []
    files = 0
    for path in sorted(root.glob("src/**/*")):
        if path.suffix in {".h", ".cpp", ".inc"}:
            room = path.relative_to(root / "src").parts[0]
            if room not in ROOMS:
                problems.append(f"{path}: unknown room {room}; the list is in {__file__}")
                continue
            check_source(path, room, problems)
            files += 1
    for path in sorted(root.glob("include/**/*.h")):
        check_public(path, problems)
        files += 1
    print("\n".join(problems) or f"{files} files keep to their rooms")
    return 1 if problems or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
