"""What a program of the ELF format asks of the machine that runs it."""
import pathlib
import struct

LOAD, DYNAMIC, INTERPRETER = 1, 2, 3  # kinds of segments
NEEDED, STRING_TABLE = 1, 5           # tags of the dynamic section


def segments(data):
    """(kind, offset, address, size in the file) of each; 64 bits, little-endian."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    begin, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for at in range(begin, begin + size * count, size):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, at)
        yield kind, offset, address, length


def text_at(data, at):
    return data[at:data.index(b"\0", at)].decode()


def needed_from_outside(path):
    """The loader and the shared libraries: nothing for a static program."""
    data = pathlib.Path(path).read_bytes()
    parts = list(segments(data))
    needed = [text_at(data, offset) for kind, offset, _, _ in parts if kind == INTERPRETER]
    for kind, offset, _, length in parts:
        if kind != DYNAMIC:
            continue
        tags = list(struct.iter_unpack("<QQ", data[offset:offset + length]))
        strings = next(value for tag, value in tags if tag == STRING_TABLE)
        table = next(strings - address + start for kind, start, address, size in parts
                     if kind == LOAD and address <= strings < address + size)
        needed += [text_at(data, table + value) for tag, value in tags if tag == NEEDED]
    return needed
