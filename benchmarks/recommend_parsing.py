"""Compare how long an answer of 30 hits with full records takes to parse: this library and the official client.

Both start from the same bytes and end with objects whose IDs, query ID and attributes can be read. Medians of
alternating rounds in one process; compare the ratio, the machine sets the scale.
"""

import statistics
import time
from collections.abc import Callable

import orjson
from algoliasearch.recommend.models.get_recommendations_response import GetRecommendationsResponse

from algolia_events._recommend_codec import Analytics, decode_answer, encode_query
from algolia_events._wire import Response
from algolia_events.recommendations import RelatedProducts

HITS = 30
ROUNDS = 40
CALLS = 25


def record(number: int) -> dict[str, object]:
    """Make a record of about 1 kB, as a shop's are."""
    return {
        "objectID": f"sku-{number:06}",
        "_score": 99.5 - number,
        "name": f"Trail running shoe model {number}",
        "description": "Light, grippy and made for long days in the hills; sheds water and mud alike. " * 4,
        "brand": "Acme",
        "price": 129.9,
        "currency": "EUR",
        "sizes": [38, 39, 40, 41, 42, 43, 44, 45],
        "categories": ["Shoes", "Running", "Trail"],
        "hierarchicalCategories": {"lvl0": "Shoes", "lvl1": "Shoes > Running", "lvl2": "Shoes > Running > Trail"},
        "images": [f"https://images.example.org/products/{number}/{view}.jpg" for view in ("front", "side", "back")],
        "popularity": 1000 - number,
        "inStock": True,
        "rating": {"average": 4.5, "count": 212},
    }


def official(body: bytes) -> object:
    """Parse as the official client does with an answer's bytes."""
    answer = GetRecommendationsResponse.from_json(body.decode())
    return None if answer is None else answer.results[0].query_id


def measure(call: Callable[[], object]) -> float:
    """Time a call, in milliseconds."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1000


def main() -> None:
    """Print both, and the ratio."""
    body = orjson.dumps(
        {
            "results": [
                {"hits": [record(number) for number in range(HITS)], "queryID": "0123456789abcdef" * 2, "index": "i"}
            ]
        }
    )
    question = encode_query(RelatedProducts(index="i", object_id="o", threshold=0), Analytics(user_token="user-1"))
    response = Response(status=200, headers={}, body=body)
    contenders: dict[str, Callable[[], object]] = {
        "algolia_events": lambda: decode_answer(response, [question])[0].hits[-1],
        "official client": lambda: official(body),
        "orjson.loads alone": lambda: orjson.loads(body),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            times[name].append(measure(call))
    medians = {name: statistics.median(values) for name, values in times.items()}

    print(f"an answer of {HITS} hits, {len(body):,} bytes")
    for name, median in medians.items():
        print(f"  {name:20} {median:7.3f} ms")
    print(f"  the official client takes {medians['official client'] / medians['algolia_events']:.1f} times as long")


if __name__ == "__main__":
    main()
