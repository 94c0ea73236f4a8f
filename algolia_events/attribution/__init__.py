"""Attribution that outlives the answer: signed tokens, what is remembered of answers, answers of other clients."""

from algolia_events.attribution._foreign import attributed
from algolia_events.attribution._sightings import Sighting, authenticated_digest, sighting_key, sightings
from algolia_events.attribution._tokens import TokenSigner
from algolia_events.attribution._upgrades import UPGRADABLE, Upgradable, Upgraded, upgrade, upgrade_parts

__all__ = [
    "UPGRADABLE",
    "Sighting",
    "TokenSigner",
    "Upgradable",
    "Upgraded",
    "attributed",
    "authenticated_digest",
    "sighting_key",
    "sightings",
    "upgrade",
    "upgrade_parts",
]
