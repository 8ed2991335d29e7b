"""The deliverable: a folder of models, preprocessing, labels, golden cases and loader that proves itself. No torch.

    make(folder, name=…, models=[("ort", path), …], …)      files, hashed in a canonical manifest; the same inputs, the same bytes
    found = verify(folder)                                  every difference at once, then every golden case
    found.require()                                         raises IntegrityError unless it is whole and right

Hashes prove that a bundle is unchanged since it was made, not who made it.
"""

from edgekd.bundle.card import Card
from edgekd.bundle.engine import Engine
from edgekd.bundle.golden import golden_logits, surest_half
from edgekd.bundle.make import make
from edgekd.bundle.verify import Golden, Verification, open_bundle, verify

__all__ = [
    "Card",
    "Engine",
    "Golden",
    "Verification",
    "golden_logits",
    "make",
    "open_bundle",
    "surest_half",
    "verify",
]
