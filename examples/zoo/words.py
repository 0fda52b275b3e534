"""The words of the grammar. Every text of the zoo is made of these."""

from __future__ import annotations

__all__ = [
    "CLOSED",
    "COLOURS",
    "FURNITURE",
    "GIFTS",
    "MEN",
    "MOVES",
    "OPINIONS",
    "PLURALS",
    "QUALITIES",
    "ROOMS",
    "SIDES",
    "SUBJECTS",
    "TIMES",
    "TOWNS",
    "TOWN_BEGINNINGS",
    "TOWN_ENDINGS",
    "VERBS",
    "WOMEN",
]


def _words(text: str) -> list[str]:
    return text.split()


WOMEN = _words("Anna Carla Elena Greta Ines Karin Mira Olga")
MEN = _words("Ben David Felix Hugo Jonas Leo Nils Paul")
TOWN_BEGINNINGS = _words("Oak Mill Stone Ash")
TOWN_ENDINGS = _words("ford field wick ham")
TOWNS = [beginning + ending for beginning in TOWN_BEGINNINGS for ending in TOWN_ENDINGS]
"""Words of two pieces in most vocabularies."""

PLURALS = {
    **{noun: f"{noun}s" for noun in _words("lamp key book basket mirror kettle letter clock bottle hammer coat ring")},
    "box": "boxes",
    "brush": "brushes",
    "knife": "knives",
    "scarf": "scarves",
}
"""Things."""

COLOURS = _words("red blue green yellow white black")
QUALITIES = _words("old new small large heavy broken clean dusty")

SIDES = _words("on under behind")
FURNITURE = _words("table bed shelf sofa desk piano")
ROOMS = _words("kitchen garden attic cellar hall garage")

TIMES = ("In the morning", "At noon", "In the afternoon", "In the evening", "At night")
"""In the order in which they come."""

MOVES = {"put": "put", "left": "leave", "hid": "hide", "found": "find"}
GIFTS = {"gave": "give", "lent": "lend", "sent": "send"}

VERBS = {"is": "are", "was": "were", "has": "have", "looks": "look", "seems": "seem", "needs": "need", "wants": "want"}
"""What one does, and what several do."""

SUBJECTS = _words("soup bread concert film hotel room garden train")
OPINIONS = {
    "positive": _words("good lovely excellent pleasant wonderful friendly"),
    "negative": _words("bad awful terrible boring dreadful rude"),
}

CLOSED = frozenset(_words("the that it was who to in is are she he then . ,"))
"""Words that their neighbours give away."""
