"""The speech sounds of the synthesised voice with their lip targets, and random nonsense utterances.

Vowel formants are the averages for men of Peterson & Barney, "Control Methods Used in a Study of the Vowels" (JASA 24,
1952, Table II). Consonants' durations, loci and noise bands, and the lip targets of all sounds, are round numbers
chosen for this renderer: lips shut for p, b and m, the lower lip under the teeth for f and v, rounded for w, sh and u,
spread for i.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Kind = Literal["vowel", "nasal", "stop", "fricative", "glide", "breath", "pause"]


@dataclass(frozen=True, slots=True)
class Lips:
    """A sound's mouth target: opening and jaw 0 (shut) to 1, width -1 (rounded) to 1 (spread).

    tuck 0 to 1: the lower lip under the teeth; grip: how strongly this sound holds its target against its neighbours
    (1 for a vowel, less for a stop made with the tongue).
    """

    opening: float
    width: float
    jaw: float
    tuck: float = 0.0
    grip: float = 1.0


@dataclass(frozen=True, slots=True)
class Phone:
    """A sound: formants_hz F1-F3 (of a glide's or consonant's vocal tract), seconds, levels in dB below a loud vowel.

    noise_hz is the centre and the width of the friction or burst noise; None if the sound has no such noise.
    """

    name: str
    kind: Kind
    formants_hz: tuple[float, float, float]
    seconds: float
    lips: Lips
    voice_db: float = -90.0
    noise_db: float = -90.0
    noise_hz: tuple[float, float] | None = None


def _vowel(name: str, formants: tuple[float, float, float], opening: float, width: float) -> Phone:
    return Phone(name, "vowel", formants, 0.13, Lips(opening, width, opening), voice_db=0.0)


VOWELS = (
    _vowel("i", (270, 2290, 3010), 0.28, 0.8),
    _vowel("ih", (390, 1990, 2550), 0.40, 0.5),
    _vowel("eh", (530, 1840, 2480), 0.62, 0.5),
    _vowel("ae", (660, 1720, 2410), 0.85, 0.5),
    _vowel("ah", (730, 1090, 2440), 1.00, 0.1),
    _vowel("uh", (640, 1190, 2390), 0.72, 0.1),
    _vowel("aw", (570, 840, 2410), 0.70, -0.5),
    _vowel("oo", (440, 1020, 2240), 0.36, -0.6),
    _vowel("u", (300, 870, 2240), 0.26, -1.0),
    _vowel("er", (490, 1350, 1690), 0.45, -0.3),
)

_SHUT = Lips(0.0, 0.0, 0.05, grip=12.0)
_TUCKED = Lips(0.10, 0.1, 0.08, tuck=1.0, grip=6.0)
_TONGUE = Lips(0.24, 0.3, 0.15, grip=0.7)
_BACK = Lips(0.40, 0.0, 0.35, grip=0.25)
_HISS = Lips(0.18, 0.5, 0.04, grip=1.6)
_HUSH = Lips(0.28, -0.7, 0.12, grip=2.0)

CONSONANTS = (
    Phone("m", "nasal", (250, 1000, 2200), 0.085, _SHUT, voice_db=-11),
    Phone("n", "nasal", (250, 1500, 2500), 0.070, _TONGUE, voice_db=-10),
    Phone("b", "stop", (200, 800, 2200), 0.080, _SHUT, voice_db=-26, noise_db=-26, noise_hz=(900, 900)),
    Phone("p", "stop", (200, 800, 2200), 0.095, _SHUT, noise_db=-20, noise_hz=(1000, 1000)),
    Phone("d", "stop", (250, 1750, 2600), 0.065, _TONGUE, voice_db=-26, noise_db=-24, noise_hz=(3800, 1500)),
    Phone("t", "stop", (250, 1750, 2600), 0.080, _TONGUE, noise_db=-18, noise_hz=(4200, 1600)),
    Phone("g", "stop", (250, 2000, 2300), 0.070, _BACK, voice_db=-26, noise_db=-24, noise_hz=(2000, 900)),
    Phone("k", "stop", (250, 2000, 2300), 0.085, _BACK, noise_db=-18, noise_hz=(2200, 1000)),
    Phone("f", "fricative", (300, 1100, 2300), 0.100, _TUCKED, noise_db=-30, noise_hz=(5000, 4000)),
    Phone("v", "fricative", (280, 1100, 2300), 0.075, _TUCKED, voice_db=-14, noise_db=-34, noise_hz=(5000, 4000)),
    Phone("s", "fricative", (280, 1700, 2600), 0.110, _HISS, noise_db=-20, noise_hz=(6000, 1300)),
    Phone("z", "fricative", (280, 1700, 2600), 0.085, _HISS, voice_db=-16, noise_db=-25, noise_hz=(6000, 1300)),
    Phone("sh", "fricative", (300, 1700, 2400), 0.115, _HUSH, noise_db=-18, noise_hz=(3600, 1300)),
    Phone("l", "glide", (360, 1200, 2700), 0.065, replace(_TONGUE, opening=0.38, jaw=0.3), voice_db=-7),
    Phone("r", "glide", (380, 1200, 1600), 0.070, Lips(0.28, -0.55, 0.25, grip=1.4), voice_db=-7),
    Phone("w", "glide", (300, 700, 2200), 0.080, Lips(0.10, -1.0, 0.10, grip=4.0), voice_db=-8),
    Phone("y", "glide", (280, 2250, 2900), 0.065, Lips(0.24, 0.8, 0.15, grip=1.2), voice_db=-7),
    Phone("h", "breath", (500, 1500, 2500), 0.060, Lips(0.45, 0.0, 0.4, grip=0.15), noise_db=-22),
)

# Two thirds of the consonants are made with the lips, so that a short clip holds enough of what can be seen.
_WEIGHTS = np.array([4.0 if phone.lips.grip >= 4.0 else 1.0 for phone in CONSONANTS])
_CODAS = tuple(phone for phone in CONSONANTS if phone.name in {"m", "n", "p", "t", "s", "l", "f", "k"})


@dataclass(frozen=True, slots=True)
class Event:
    """A phone at its place: start and end in seconds, stress 0 to 1 (1: loud, long, wide)."""

    phone: Phone
    start: float
    end: float
    stress: float


def _pause(seconds: float) -> Phone:
    return Phone("", "pause", (500, 1500, 2500), seconds, Lips(0.0, 0.0, 0.0, grip=1.0))


def draw_utterance(rng: np.random.Generator, seconds: float) -> tuple[Event, ...]:
    """Phrases of two to four words of one to three syllables, with pauses; covers [0, seconds] without a gap."""
    events: list[Event] = []
    now = 0.0
    tempo = rng.uniform(0.9, 1.15)

    def say(phone: Phone, stress: float = 0.0, stretch: float = 1.0) -> None:
        nonlocal now
        length = phone.seconds if phone.kind == "pause" else phone.seconds * tempo * stretch * rng.uniform(0.85, 1.2)
        events.append(Event(phone, now, now + length, stress))
        now += length

    say(_pause(rng.uniform(0.08, 0.2)))
    while now < seconds:
        words = int(rng.integers(2, 5))
        for word in range(words):
            syllables = int(rng.integers(1, 4))
            stressed = int(rng.integers(syllables))
            for syllable in range(syllables):
                stress = rng.uniform(0.75, 1.0) if syllable == stressed else rng.uniform(0.2, 0.5)
                last = word == words - 1 and syllable == syllables - 1
                if rng.random() < 0.92:
                    say(CONSONANTS[rng.choice(len(CONSONANTS), p=_WEIGHTS / _WEIGHTS.sum())], stress)
                say(VOWELS[rng.integers(len(VOWELS))], stress, (0.8 + 0.5 * stress) * (1.4 if last else 1.0))
                if rng.random() < 0.3:
                    say(_CODAS[rng.integers(len(_CODAS))], stress)
        say(_pause(rng.uniform(0.22, 0.5)))
    return tuple(events)
