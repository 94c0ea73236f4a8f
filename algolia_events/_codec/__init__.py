"""Events to JSON and back: the only home of cattrs."""

from algolia_events._codec._encode import ENCODERS, WIRE_NAMES, Encoder, encode, encoder_for
from algolia_events._codec._parse import decode_events, parse_event, to_mapping

__all__ = [
    "ENCODERS",
    "WIRE_NAMES",
    "Encoder",
    "decode_events",
    "encode",
    "encoder_for",
    "parse_event",
    "to_mapping",
]
