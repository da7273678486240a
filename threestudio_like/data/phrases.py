"""What people say to have a picture changed: several phrasings of each kind of instruction.

InstructPix2Pix (Brooks et al. 2023, section 3.1) asks a language model for instructions, this is a grammar.
"""

from __future__ import annotations

import numpy as np

PHRASES = {
    "colour": (
        "make {the} {hue}",
        "paint {the} {hue}",
        "turn {the} {hue}",
        "colour {the} {hue}",
        "{the} should be {hue}",
        "change the colour of {the} to {hue}",
    ),
    "part": (
        "make {the} {hue}",
        "paint {the} {hue}",
        "turn {the} {hue}",
        "only {the} should be {hue}",
        "change the colour of {the} to {hue}",
    ),
    "material": (
        "make {the} out of {stuff}",
        "make it of {stuff}",
        "turn {the} into {stuff}",
        "{the} should be made of {stuff}",
        "replace the material with {stuff}",
    ),
    "size": ("make {the} {more}", "{the} should be {more}", "I want {the} to be {more}", "{more}, please"),
    "replace": (
        "replace {the} with {a}",
        "turn {the} into {a}",
        "swap {the} for {a}",
        "make {the} {a}",
        "put {a} in place of {the}",
    ),
    "add": ("add {a} {place}", "put {a} {place}", "place {a} {place}", "give it {a} {place}"),
    "remove": ("remove {the}", "take {the} away", "delete {the}", "without {the}", "get rid of {the}"),
    "light": ("light it {lamp}", "shine a lamp on it {lamp}", "put the lamp so that light comes {lamp}"),
    "dim": ("make it {level}", "make the light {level}", "{level} light"),
}
SYNONYMS = {
    "sphere": ("sphere", "ball"),
    "box": ("box", "block"),
    "torus": ("torus", "ring"),
    "capsule": ("capsule", "pill"),
    "grey": ("grey", "gray"),
    "purple": ("purple", "violet"),
    "bigger": ("bigger", "larger"),
    "taller": ("taller", "higher"),
    "darker": ("darker", "dimmer"),
}


def said(rng: np.random.Generator, kind: str, words: dict[str, str]) -> str:
    """One phrasing of the instruction, with one of each word's synonyms."""
    words = {name: " ".join(synonym(rng, word) for word in text.split()) for name, text in words.items()}
    return str(rng.choice(PHRASES[kind])).format(**words)


def synonym(rng: np.random.Generator, word: str) -> str:
    """The word, or another for it."""
    return str(rng.choice(SYNONYMS.get(word, (word,))))
