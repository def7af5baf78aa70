"""ggml's CPU backend several times in one static library; the program takes the best at its start.

ggml itself ships its variants as shared modules, which a static program cannot load. Here each
variant becomes one object whose global names are its own, and a table of jumps, filled before any
constructor runs, stands where the backend's public functions were. Nothing of a variant is shared:
a weak function that the linker kept from the AVX-512 one would end the program elsewhere.
"""
import pathlib
import re
import subprocess

from logged_steps import Failed

# (name, what ggml is told, what of it the compiler's run time is asked for). A subset of ggml's own
# list under ggml's names, from least to most capable: the last that the processor supports is used.
# GGML's AVX512 means F, CD, BW, DQ and VL.
_HASWELL = ["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2"]
_HASWELL_BITS = ["sse4.2", "avx", "f16c", "fma", "avx2", "bmi2"]
_SKYLAKEX_BITS = [*_HASWELL_BITS, "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"]
VARIANTS = [
    ("x64", [], []),
    ("haswell", _HASWELL, _HASWELL_BITS),
    ("alderlake", [*_HASWELL, "AVX_VNNI"], [*_HASWELL_BITS, "avxvnni"]),
    ("skylakex", [*_HASWELL, "AVX512"], _SKYLAKEX_BITS),
    ("cascadelake", [*_HASWELL, "AVX512", "AVX512_VNNI"], [*_SKYLAKEX_BITS, "avx512vnni"]),
    ("icelake", [*_HASWELL, "AVX512", "AVX512_VBMI", "AVX512_VNNI"],
     [*_SKYLAKEX_BITS, "avx512vbmi", "avx512vnni"]),
    ("zen4", [*_HASWELL, "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"],
     [*_SKYLAKEX_BITS, "avx512vbmi", "avx512vnni", "avx512bf16"]),
    ("sapphirerapids", [*_HASWELL, "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16",
                        "AMX_TILE", "AMX_INT8"],
     [*_SKYLAKEX_BITS, "avx512vbmi", "avx512vnni", "avx512bf16", "amx-tile", "amx-int8"]),
]
FEATURES = list(dict.fromkeys(feature for _, features, _ in VARIANTS for feature in features))


def cmake_flags(features):
    """What ggml's CMake is told for one variant."""
    return ["-DGGML_NATIVE=OFF",
            *(f"-DGGML_{name}={'ON' if name in features else 'OFF'}" for name in FEATURES)]


def public_names(header, defined):
    """The functions of ggml-cpu.h that the backend defines."""
    declared = set(re.findall(r"\b(ggml_\w+) *\(", pathlib.Path(header).read_text()))
    return sorted(declared & defined)


def defined_names(file, kinds):
    """Names that other objects can see, of the kinds that nm writes; all kinds for None."""
    text = subprocess.run(["nm", "--defined-only", "--extern-only", "--format=posix", file],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True).stdout
    rows = [words for words in map(str.split, text.splitlines()) if len(words) > 2]
    return {words[0] for words in rows if kinds is None or words[1] in kinds}


def has_constructors(obj):
    text = subprocess.run(["objdump", "-h", obj], check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    return re.search(r"\.(init_array|ctors|preinit_array)\b", text) is not None


def dispatch_source(names, variants):
    """C: jumps in the place of `names`, and the choice among (variant, bits) in rising order."""
    lines = ["// Written by scripts/ggml_variants.py.", "typedef void function(void);", ""]
    for name in names:
        lines += [f"extern function {', '.join(f'{variant}_{name}' for variant, _ in variants)};",
                  f'__attribute__((visibility("hidden"))) function* heed_slot_{name} = '
                  f"{variants[0][0]}_{name};",
                  f'__asm__(".pushsection .text\\n.globl {name}\\n.type {name}, @function\\n"',
                  f'        "{name}: endbr64\\n jmp *heed_slot_{name}(%rip)\\n"',
                  f'        ".size {name}, . - {name}\\n.popsection\\n");']
    # 101 is the first that programs may have.
    lines += ["", "__attribute__((constructor(101))) static void choose(void) {",
              "  __builtin_cpu_init();"]
    for variant, bits in variants[1:]:
        lines.append("  if (" + " && ".join(f'__builtin_cpu_supports("{bit}")' for bit in bits)
                     + ") {")
        lines += [f"    heed_slot_{name} = {variant}_{name};" for name in names]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def combine(archives, header, out, compiler, run):
    """Writes the library `out` from {variant: its libggml-cpu.a}. `run` runs a command."""
    out = pathlib.Path(out)
    work = out.parent / "variants"
    work.mkdir()
    names = public_names(header, set.intersection(*(defined_names(archive, "T")
                                                    for archive in archives.values())))
    objects = []
    for variant, archive in archives.items():
        whole, own = work / f"{variant}-whole.o", work / f"ggml-cpu-{variant}.o"
        # Groups that the linker may share between objects end here: they become plain sections.
        run(["ld.bfd", "-r", "--force-group-allocation", "--whole-archive", archive, "-o", whole])
        if has_constructors(whole):
            raise Failed(f"{archive} has constructors: on a processor without the instructions "
                         f"of {variant} they would end the program")
        (work / "renamed").write_text("".join(f"{name} {variant}_{name}\n" for name in names))
        kept = [f"{variant}_{name}" for name in names]
        (work / "kept").write_text("".join(f"{name}\n" for name in kept))
        # Names that are unique in a process (GNU) become weak first: only those can become local.
        (work / "unique").write_text("".join(f"{name}\n" for name in defined_names(whole, "u")))
        run(["objcopy", f"--redefine-syms={work / 'renamed'}",
             f"--weaken-symbols={work / 'unique'}", whole])
        run(["objcopy", "--strip-unneeded", f"--keep-global-symbols={work / 'kept'}", whole, own])
        shared = defined_names(own, None) - set(kept)
        if shared:
            raise Failed(f"{archive} would share {', '.join(sorted(shared))} with other variants")
        objects.append(own)
    chosen = [(name, bits) for name, _, bits in VARIANTS if name in archives]
    source = work / "dispatch.c"
    source.write_text(dispatch_source(names, chosen))
    objects.append(work / "ggml-cpu-dispatch.o")
    run([*compiler, "-O2", "-fPIC", "-Wall", "-Wextra", "-Werror", "-c", source, "-o", objects[-1]])
    out.unlink(missing_ok=True)
    run(["ar", "rcsD", out, *objects])
    for file in work.iterdir():
        file.unlink()
    work.rmdir()
