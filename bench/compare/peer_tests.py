"""What is measured: tests in llama-bench's words, and the order in which engines take turns."""
import dataclasses
import re

SHORT = 1024          # positions; tests up to here share a process and are repeated in it
SHORT_REPEATS = 3
LONG = 4200           # beyond it a test runs in the first --long-rounds turns alone


@dataclasses.dataclass(frozen=True, order=True)
class Test:
    """pp512: a prompt of 512; tg32@4096: 32 generated tokens behind 4,096 held ones."""
    kind: str
    n: int
    depth: int = 0

    def __str__(self):
        return f"pp{self.n}" if self.kind == "pp" else f"tg{self.n}@{self.depth}"

    @property
    def reach(self):
        return self.n + self.depth

    @property
    def repeats(self):
        return SHORT_REPEATS if self.reach <= SHORT else 1


def parse_test(word):
    match = re.fullmatch(r"pp([1-9]\d*)|tg([1-9]\d*)@(\d+)", word)
    if not match:
        raise ValueError(f"'{word}' is no test: pp512, or tg32@4096 for 32 tokens behind 4,096")
    if match[1]:
        return Test("pp", int(match[1]))
    return Test("tg", int(match[2]), int(match[3]))


def groups_of(tests):
    """Tests that one engine runs before the next one has its turn: all short ones together, each
    longer length alone, so that the engines' figures of a long test lie close in time."""
    groups = {}
    for test in sorted(set(tests), key=lambda test: (test.reach, test)):
        held = max(test.depth, test.n)
        groups.setdefault(0 if test.reach <= SHORT else held, []).append(test)
    return list(groups.values())


def is_long(group):
    return max(test.reach for test in group) > LONG


def batches(tests, deep_repeats=1):
    """[(kind, generated tokens or 0, repeats, tests)]: what one call of a benchmark can run.
    `deep_repeats`: of generation behind a long text, for engines that need not read it again."""
    parts = {}
    for test in tests:
        repeats = max(test.repeats, deep_repeats) if test.depth > 0 else test.repeats
        key = (test.kind, test.n if test.kind == "tg" else 0, repeats)
        parts.setdefault(key, []).append(test)
    return [(*key, part) for key, part in sorted(parts.items())]


def rotated(engines, by):
    by %= max(1, len(engines))
    return engines[by:] + engines[:by]
