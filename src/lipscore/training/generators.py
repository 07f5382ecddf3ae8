"""Clips of other generators and of real people: whose they are, and by how much their sound is off.

A generator moves the sound of all its clips by about the same time against the lips. The training takes that constant
out, because clips that disagree about what is in sync would teach the towers to blur. docs/measures/model-card.md says
how the constants were found.
"""

from __future__ import annotations

LEADS = {  # frames by which the sound comes before the lips, against MoChaBench's clips; medians over a generator
    "edtalk": 0.33,
    "fantasyportrait": 0.08,
    "fantasytalking": 0.08,
    "grid": 1.05,  # the GRID corpus: real people, taken to be in sync
    "hallo": -1.21,
    "humo": -0.16,
    "joyhallo": -0.47,
    "linly": 0.37,
    "sadtalker": 0.30,
}
FAMILIES = {  # the same faces and speech, the same makers, or one built upon the other: held out together
    "hallo": "joyhallo",
    "fantasyportrait": "fantasytalking",
    "linly": "sadtalker",
}


def generator_of(name: str) -> str:
    """The generator, from the first word of a clip's file name; JoyHallo's repository shows clips of Hallo too."""
    words = name.rsplit("/", 1)[-1].split(".")[0].split("_")
    return words[1] if words[0] == "joyhallo" and words[1:2] == ["hallo"] else words[0]


def family_of(generator: str) -> str:
    """The generators that are held out together with this one."""
    return FAMILIES.get(generator, generator)
