"""Examples of every task, drawn from the grammar: what `bvx run --jsonl` reads, and the right answer beside it.

A text is held out, or it is not: its own letters decide (`is_held_out`), so no text is in both halves.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from grammar import Fact, Story, draw_people, draw_thing, plain, recall, tell
from words import FURNITURE, MOVES, OPINIONS, QUALITIES, SIDES, SUBJECTS, TOWNS

__all__ = ["Example", "draw", "is_held_out", "tell_opinion", "tell_plain_question", "tell_question"]
__all__ += ["tell_short_story", "tell_statement", "tell_story", "tell_two_parts"]

Example = dict[str, Any]
_CHOICE = re.compile(r"\{(\w*)\|(\w*)\}")


def is_held_out(text: str) -> bool:
    """Whether `text` is for measuring: about one in eight is."""
    return zlib.crc32(text.encode()) % 8 == 0


def draw(make: Callable[[Random], Example], rng: Random, *, held_out: bool) -> Example:
    """An example of the wanted half."""
    while True:
        example = make(rng)
        if is_held_out(plain(example.get("context") or example["text"])) == held_out:
            return example


def tell_story(rng: Random) -> Example:
    """{"text"}: a story with its asterisks."""
    return {"text": tell(rng, 2, 2).text}


def tell_short_story(rng: Random) -> Example:
    """The same of one fact."""
    return {"text": tell(rng, 1, 2).text}


def tell_two_parts(rng: Random) -> Example:
    """{"text", "pair", "label"}: two parts of a story, "in_order" or "swapped".

    Half of them show it by a part that follows from the other, half only by the times.
    """
    if rng.random() < 0.5:
        story = tell(rng, 2, 1, timed=True)
        first, second, aside = story.sentences
        parts = [first, f"{second} {aside}"]
    else:
        story = tell(rng, 1, 1)
        (fact,) = story.facts
        parts = [story.sentences[0], f"{story.sentences[1]} {recall(rng, fact)}"]
    label = rng.choice(("in_order", "swapped"))
    if label == "swapped":
        parts.reverse()
    return {"text": parts[0], "pair": parts[1], "label": label}


def tell_statement(rng: Random) -> Example:
    """{"text", "label"}: a sentence that is "acceptable", or has one word in a form that it may not have there."""
    template = _draw_template(rng)
    label = rng.choice(("acceptable", "unacceptable"))
    wrong = label == "unacceptable"
    text = _CHOICE.sub(lambda found: found[1 + wrong], template)
    return {"text": text[0].upper() + text[1:], "label": label}


def _draw_template(rng: Random) -> str:
    """A sentence with a choice {right|wrong}; between a noun and what agrees with it stand others, to mislead."""
    (person,) = draw_people(rng, 1)
    thing, other = draw_thing(rng), draw_thing(rng)
    is_ = _choice(rng.choice(("is are", "was were", "seems seem")), thing.is_plural)
    it = _choice("it them", thing.is_plural)
    themself = _choice("herself himself", not person.is_woman)
    verb, town, quality = rng.choice(list(MOVES)), rng.choice(TOWNS), rng.choice(QUALITIES)
    return rng.choice(
        (
            f"the {thing.word} {rng.choice(SIDES)} {other.full} {is_} {quality}.",
            f"the {thing.word} that {person.name} {verb} with {other.full} {is_} {quality}.",
            f"the {thing.word} from the {rng.choice(FURNITURE)} in {town} {is_} {quality}.",
            f"{person.name} {verb} {thing.full} in {town}, and nobody saw {it}.",
            f"{person.name}, who {verb} {other.full}, talked to {themself}.",
        )
    )


def _choice(forms: str, second: bool) -> str:
    one, two = forms.split()
    return f"{{{two}|{one}}}" if second else f"{{{one}|{two}}}"


def tell_opinion(rng: Random) -> Example:
    """{"text", "label"}: what somebody thought of one or two things: "positive", "negative" or "mixed"."""
    label = rng.choice(("positive", "negative", "mixed"))
    signs = [label] * rng.randint(1, 2) if label != "mixed" else rng.sample(list(OPINIONS), 2)
    subjects = rng.sample(SUBJECTS, len(signs))
    clauses = [f"the {subject} was {_judge(rng, sign)}" for subject, sign in zip(subjects, signs, strict=True)]
    text = clauses[0]
    for clause in clauses[1:]:
        text += rng.choice((", and ", ", but ", "; ")) + clause
    (person,) = draw_people(rng, 1)
    text = rng.choice(("", f"{person.name} says that ", f"in {rng.choice(TOWNS)} ")) + text + "."
    return {"text": text[0].upper() + text[1:], "label": label}


def _judge(rng: Random, sign: str) -> str:
    """A predicate of that sign; some turn a word of the other sign round."""
    if rng.random() < 0.75:
        return f"{rng.choice(('', 'very ', 'quite '))}{rng.choice(OPINIONS[sign])}"
    (other,) = OPINIONS.keys() - {sign}
    return f"{rng.choice(('not ', 'never ', 'hardly ', 'anything but '))}{rng.choice(OPINIONS[other])}"


def tell_question(rng: Random) -> Example:
    """{"question", "context", "answer", "start"}: `start` is the answer's first character."""
    return _question(rng, tell(rng, 2, rng.randint(0, 1)))


def tell_plain_question(rng: Random) -> Example:
    """The same, of a story in which something is given away, and something else is not."""
    gifts = rng.sample((True, False), 2)
    return _question(rng, tell(rng, 2, rng.randint(0, 1), gifts=gifts))


def _question(rng: Random, story: Story) -> Example:
    fact = rng.choice(list(story.facts))
    sentences = [plain(sentence) for sentence in story.sentences]
    context = " ".join(sentences)
    question, answer = _ask(rng, fact)
    before = sum(len(sentence) + 1 for sentence in sentences[: story.facts[fact]])
    return {"question": question, "context": context, "answer": answer, "start": context.index(answer, before)}


def _ask(rng: Random, fact: Fact) -> tuple[str, str]:
    """A question about the fact, and its answer as it stands in the fact's sentence."""
    name, the = fact.person.name, f"the {fact.thing.word}"
    who = f"Who {fact.past} {the}?", name
    what = f"What did {name} {fact.base}?", fact.thing.full
    if fact.is_gift:
        where = f"Who did {name} {fact.base} {the} to?", fact.place.removeprefix("to ")
    else:
        where = f"Where did {name} {fact.base} {the}?", fact.place
    return rng.choice((who, what, where))
