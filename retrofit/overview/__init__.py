"""How everything stands, as one document: page, JSON, metrics and `retrofit status` show this."""

from retrofit.overview.cloud import ask
from retrofit.overview.document import overview, standing
from retrofit.overview.facts import CloudFacts, Going, LocalFacts
from retrofit.overview.local import look, waiting_letters
from retrofit.overview.words import STATES

__all__ = [
    "STATES",
    "CloudFacts",
    "Going",
    "LocalFacts",
    "ask",
    "look",
    "overview",
    "standing",
    "waiting_letters",
]
