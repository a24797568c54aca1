"""What Prometheus reads of a server."""

import httpx
from prometheus_client.parser import text_string_to_metric_families as metrics

from tests.waiting import wait_until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(place: str, path: str = "/metrics") -> Samples:
    """Every sample of a scrape, by its name without the prefix, and its labels in order."""
    answer = httpx.get(f"http://{place}{path}", trust_env=False, verify=False, timeout=30)
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("dataset_server_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in metrics(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def await_value(place: str, wanted: float, name: str, **labels: str) -> None:
    """Wait for what is counted when a stream or a connection has ended, which its client sees a little sooner."""
    wait_until(lambda: read(place).get((name, tuple(sorted(labels.items())))) == wanted)
