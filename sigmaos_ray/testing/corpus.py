"""A sample corpus: books that nobody wrote, with the word frequencies of English. The same bytes for the same seed."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEED: Final = 20230911
BOOK_BYTES: Final = 512 << 10

TITLES: Final = (
    "The Lamplighter of Node Seven",
    "A Short History of Long Sessions",
    "Seven Leases and a Funeral",
    "The Walk to the Far Mount",
    "Letters from an Evicted Process",
    "The Fence and the Epoch",
    "Any Local House",
    "What the Watch Saw",
)

# Occurrences among a thousand words of running English, roughly.
_COMMON: Final = """
the 58 of 31 and 29 to 26 a 22 in 20 that 11 is 10 was 10 he 9 for 9 it 9 with 7 as 7 his 7 on 7 be 6 at 5 by 5 I 5
this 5 had 5 not 5 are 4 but 4 from 4 or 4 have 4 an 4 they 4 which 4 one 3 you 3 were 3 her 3 all 3 she 3 there 3
would 3 their 3 we 3 him 3 been 2 has 2 when 2 who 2 will 2 more 2 no 2 if 2 out 2 so 2 said 2 what 2 up 2 its 2 about 2
into 2 than 2 them 2 can 2 only 2 other 2 new 2 some 2 could 2 time 2 these 1 two 1 may 1 then 1 do 1 first 1 any 1 my 1
now 1 such 1 like 1 our 1 over 1 man 1 me 1 even 1 most 1 made 1 after 1 also 1 did 1 many 1 before 1 must 1 through 1
back 1 years 1 where 1 much 1 your 1 way 1 well 1 down 1 should 1 because 1 each 1 just 1 those 1 people 1 how 1 too 1
little 1 state 1 good 1 very 1 make 1 world 1 still 1 own 1 see 1 men 1 work 1 long 1 get 1 here 1 between 1 both 1
life 1 being 1 under 1 never 1 day 1 same 1 another 1 know 1 while 1 last 1 might 1 us 1 great 1 old 1 year 1 off 1
"""
_RARE_WORDS: Final = 6000
_ONSETS: Final = "b br c cl d dr f fl g gr h j l m n p pl pr qu r s sh sl st t th tr v w"
_VOWELS: Final = "a a a e e e i i i o o o u u ai ea ee ou oo é"
_CODAS: Final = "n r l s t d ck m nd rt st ng sh" + 6 * " "
_ENDINGS: Final = "ed ing ly er ness s y" + 9 * " "


class Book(NamedTuple):
    """A text, and what a count of it must find: words by white space, and of them exactly ``the``."""

    file_name: str
    title: str
    text: bytes
    words: int
    the: int


def books(count: int = len(TITLES), *, book_bytes: int = BOOK_BYTES, seed: int = SEED) -> Iterator[Book]:
    """``count`` books of about ``book_bytes`` each. Titles repeat, with a number, past the eighth."""
    vocabulary, weights = _vocabulary(random.Random(seed))
    for number in range(count):
        part, at = divmod(number, len(TITLES))
        title = TITLES[at] + (f", part {part + 1}" if part else "")
        yield _book(title, random.Random(f"{seed}/{number}"), vocabulary, weights, book_bytes)


def write_corpus(
    directory: Path, count: int = len(TITLES), *, book_bytes: int = BOOK_BYTES, seed: int = SEED
) -> list[Book]:
    """Writes the books as files into ``directory``, which is made if absent."""
    directory.mkdir(parents=True, exist_ok=True)
    written = list(books(count, book_bytes=book_bytes, seed=seed))
    for book in written:
        (directory / book.file_name).write_bytes(book.text)
    return written


def _vocabulary(rng: random.Random) -> tuple[list[str], list[float]]:
    """Words and their cumulative weights: the common ones, then made-up ones by Zipf's law."""
    table = _COMMON.split()
    words, weights = table[::2], [float(weight) for weight in table[1::2]]
    taken, common = set(words), len(words)
    parts = [part.split(" ") for part in (_ONSETS, _VOWELS, _CODAS, _ENDINGS)]
    while len(words) < common + _RARE_WORDS:
        word = _made_up(rng, *parts)
        if word not in taken:
            taken.add(word)
            words.append(word)
            weights.append(100.0 / (len(words) - common / 2))
    return words, list(accumulate(weights))


def _made_up(rng: random.Random, onsets: list[str], vowels: list[str], codas: list[str], endings: list[str]) -> str:
    syllables = rng.choices((1, 2, 3), (5, 4, 1))[0]
    stem = "".join(rng.choice(onsets) + rng.choice(vowels) + rng.choice(codas) for _ in range(syllables))
    return stem + rng.choice(endings)


def _book(title: str, rng: random.Random, vocabulary: list[str], weights: list[float], book_bytes: int) -> Book:
    tokens = title.split()
    pieces, size = [f"{title}\n\n"], len(title) + 2
    while size < book_bytes:
        paragraph = [_sentence(rng, vocabulary, weights) for _ in range(rng.randint(3, 8))]
        tokens.extend(token for sentence in paragraph for token in sentence)
        piece = "\n".join(" ".join(sentence) for sentence in paragraph) + "\n\n"
        pieces.append(piece)
        size += len(piece)
    file_name = "-".join("".join(c for c in title.lower() if c.isalnum() or c == " ").split()) + ".txt"
    return Book(file_name, title, "".join(pieces).encode(), len(tokens), tokens.count("the"))


def _sentence(rng: random.Random, vocabulary: list[str], weights: list[float]) -> list[str]:
    """The tokens of one sentence: a capital first, a comma perhaps, a full stop, now and then in quotes."""
    words = rng.choices(vocabulary, cum_weights=weights, k=rng.randint(6, 22))
    words[0] = words[0][0].upper() + words[0][1:]
    if len(words) > 10:
        words[rng.randint(3, 7)] += rng.choice((",", ",", ";", "\N{EM DASH}"))
    words[-1] += rng.choice("....?!")
    if rng.random() < 0.06:
        words[0], words[-1] = f"\N{LEFT DOUBLE QUOTATION MARK}{words[0]}", f"{words[-1]}\N{RIGHT DOUBLE QUOTATION MARK}"
    return words
