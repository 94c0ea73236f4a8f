"""Events to JSON and back: the only home of cattrs."""

from algolia_events._codec._encode import ENCODERS, WIRE_NAMES, Encoder, encode, encode_all, encoder_for
from algolia_events._codec._parse import decode_events, parse_event, to_mapping
from algolia_events._codec._peek import event_timestamp, user_tokens

__all__ = [
    "ENCODERS",
    "WIRE_NAMES",
    "Encoder",
    "decode_events",
    "encode",
    "encode_all",
    "encoder_for",
    "event_timestamp",
    "parse_event",
    "to_mapping",
    "user_tokens",
]
