"""Stories: who put what where, who gave what to whom, and sentences that agree with what was told before.

A word between asterisks follows from the rest of its story: from the number of a noun that may stand far away, from
who a person is, or from what happened. `plain` takes the asterisks out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from words import COLOURS, FURNITURE, GIFTS, MEN, MOVES, PLURALS, QUALITIES, ROOMS, SIDES, TIMES, VERBS, WOMEN

__all__ = ["STARRED", "Fact", "Person", "Story", "Thing", "draw_people", "draw_thing", "plain", "recall", "tell"]

STARRED = re.compile(r"\*(\w+)\*")


def plain(text: str) -> str:
    """The text without asterisks."""
    return STARRED.sub(r"\1", text)


@dataclass(frozen=True)
class Person:
    name: str
    is_woman: bool

    @property
    def they(self) -> str:
        return "she" if self.is_woman else "he"

    @property
    def themself(self) -> str:
        return "herself" if self.is_woman else "himself"


@dataclass(frozen=True)
class Thing:
    """One thing, or several of a kind."""

    noun: str
    colour: str
    is_plural: bool

    @property
    def word(self) -> str:
        return PLURALS[self.noun] if self.is_plural else self.noun

    @property
    def full(self) -> str:
        return f"the {self.colour} {self.word}"

    @property
    def it(self) -> str:
        return "them" if self.is_plural else "it"

    def agree(self, verb: str) -> str:
        """`verb`, given in the singular, in this thing's number."""
        return VERBS[verb] if self.is_plural else verb


@dataclass(frozen=True)
class Fact:
    """`person` did something with `thing`; `place` says where or to whom, with its preposition."""

    past: str
    base: str
    person: Person
    thing: Thing
    place: str

    @property
    def sentence(self) -> str:
        return f"{self.person.name} {self.past} {self.thing.full} {self.place}."

    @property
    def is_gift(self) -> bool:
        return self.past in GIFTS


@dataclass(frozen=True)
class Story:
    """Sentences in order, some words between asterisks, and what is told in them: fact -> number of its sentence."""

    sentences: tuple[str, ...]
    facts: dict[Fact, int]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def draw_people(rng: Random, count: int) -> list[Person]:
    """Different people."""
    everybody = [Person(name, True) for name in WOMEN] + [Person(name, False) for name in MEN]
    return rng.sample(everybody, count)


def draw_thing(rng: Random) -> Thing:
    return Thing(rng.choice(list(PLURALS)), rng.choice(COLOURS), rng.random() < 0.5)


def tell(rng: Random, facts: int, asides: int, *, timed: bool = False, gifts: Sequence[bool] | None = None) -> Story:
    """A story with so many facts, and so many sentences behind them that follow from them.

    Nothing is in two facts: no doer, thing, colour, verb or place. With `timed`, each has a time, later ones later.
    `gifts` says which of them are gifts; chance does otherwise.
    """
    people = draw_people(rng, facts + 1)
    told: list[Fact] = []
    while len(told) < facts:
        fact = _draw_fact(rng, people[len(told)], people[-1], gifts[len(told)] if gifts else rng.random() < 0.3)
        if not any(_could_be_confused(fact, other) for other in told):
            told.append(fact)
    times = sorted(rng.sample(range(len(TIMES)), facts)) if timed else []
    sentences = [fact.sentence for fact in told]
    for number, time in enumerate(times):
        sentences[number] = f"{TIMES[time]}, {sentences[number]}"
    recalled = [recall(rng, rng.choice(told)) for _ in range(asides)]
    if asides and rng.random() < 0.4:
        recalled[0] = _follow(rng, told[-1])
    return Story((*sentences, *recalled), {fact: number for number, fact in enumerate(told)})


def _draw_fact(rng: Random, person: Person, other: Person, is_gift: bool) -> Fact:
    verbs = GIFTS if is_gift else MOVES
    past = rng.choice(list(verbs))
    inside = rng.random() < 0.4
    place = f"in the {rng.choice(ROOMS)}" if inside else f"{rng.choice(SIDES)} the {rng.choice(FURNITURE)}"
    return Fact(past, verbs[past], person, draw_thing(rng), f"to {other.name}" if is_gift else place)


def _could_be_confused(one: Fact, other: Fact) -> bool:
    things = one.thing.noun == other.thing.noun or one.thing.colour == other.thing.colour
    return things or one.place.split()[-1] == other.place.split()[-1] or one.past == other.past


def _follow(rng: Random, fact: Fact) -> str:
    """What can only stand right behind the fact."""
    they, it = fact.person.they, fact.thing.it
    return rng.choice(
        (
            f"*{they.capitalize()}* wants *{it}*.",
            f"Then *{they}* cleaned *{it}*.",
            f"Then *{they}* talked to *{fact.person.themself}*.",
        )
    )


def recall(rng: Random, fact: Fact) -> str:
    """What follows from the fact, or agrees within itself, and may stand far behind the fact."""
    thing, name, they = fact.thing, fact.person.name, fact.person.they
    quality, agreed = rng.choice(QUALITIES), thing.agree("is")
    where = "" if fact.is_gift else f" {fact.place}"
    choices = (
        f"The {thing.word}{where} *{agreed}* {quality}.",
        f"The {thing.word} that {name} {fact.past} *{agreed}* {quality}.",
        f"The {thing.word} *{agreed}* {quality}, but {name} likes *{thing.it}*.",
        f"{name} says that *{they}* likes the {thing.word}.",
        f"{name} talked to *{fact.person.themself}* about the {thing.word}.",
        f"It was *{name}* who {fact.past} the {thing.word}.",
        f"The *{thing.colour}* {thing.word} *{agreed}* {quality}.",
    )
    return rng.choices(choices, (3, 3, 3, 3, 3, 1, 1))[0]
