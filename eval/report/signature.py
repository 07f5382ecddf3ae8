"""`lipscore signature STRING`: explain a signature line by line, and compare it with this installation."""

from __future__ import annotations

from lipscore import __version__
from lipscore.eval.store.signature import KEYS, Signature, difference
from lipscore.metrics.catalogue import ESTIMATING
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.weights.catalogue import PUBLISHED, YUNET, YUNET_SHA256


def explain(signature: Signature) -> list[str]:
    """A line per key: its value, its meaning, and what this installation knows about it."""
    lines = []
    for key, value in signature.values.items():
        meaning = KEYS.get(key, "not known to this version of lipscore")
        known = _known(key, value)
        lines.append(f"{key:9} {value}\n          {meaning}{f'; {known}' if known else ''}")
    return lines


def compare(a: Signature, b: Signature) -> str:
    """Whether two results may be compared, in a sentence."""
    differs = difference(a, b)
    return (
        f"not comparable: {differs}"
        if differs
        else "comparable: the two do not differ in anything that changes numbers"
    )


def _known(key: str, value: str) -> str:
    name, _, digest = value.partition("@")
    if key == "lipscore":
        return "this is that version" if value == __version__ else f"this is {__version__}"
    if key == "protocol":
        protocol = PROTOCOLS.get(name)
        if protocol is None:
            return "no protocol that lipscore brings"
        same = protocol.hash == digest
        return f"{protocol.about} ({'unchanged' if same else 'changed, or of another version'})"
    if key in ("model", "detector"):
        if key == "model" and name in ESTIMATING:
            return "the built-in model: its LSE-D and LSE-C are estimates, not comparable with published numbers"
        published = {file.name: file.sha256 for file in PUBLISHED.values()} | {YUNET: YUNET_SHA256}
        official = [file for file, sha256 in published.items() if digest and sha256.startswith(digest)]
        if digest:
            return f"the official {official[0]}" if official else "not an official weight file"
    return ""
