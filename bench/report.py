"""The figures as a table in Markdown, and as a chart."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from bench.load import Figures
from bench.reads import Rounds, ratios
from bench.servers import OURS, REFERENCE

COLOURS = ("#2563eb", "#f59e0b", "#94a3b8", "#475569")
LEFT, WIDTH, BAR, GAP, TOP = 190, 420, 14, 14, 64


def median(figures: Iterable[Figures], what: str) -> float:
    return statistics.median(getattr(each, what) for each in figures)


def table(found: Mapping[str, Rounds]) -> Iterator[str]:
    """A row for each workload and contender, the least CPU first."""
    yield f"| workload | server | CPU ms | × {REFERENCE} | requests/s | p99 ms | core busy | database CPU ms | failed |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for work, rounds in found.items():
        times = ratios(rounds)
        for name in sorted(rounds, key=times.__getitem__):
            each = rounds[name]
            figures = [f"{median(each, 'cpu'):.3f}", f"{times[name]:.2f}", f"{median(each, 'rate'):,.0f}"]
            figures += [f"{median(each, 'p99'):.1f}", f"{median(each, 'busy'):.0%}"]
            figures += [f"{median(each, 'database_cpu'):.3f}", str(sum(one.failed for one in each))]
            yield f"| {work} | {name} | {' | '.join(figures)} |"


def chart(values: Mapping[str, Mapping[str, float]], about: str) -> str:
    """An SVG of bars: for each workload the multiple of the reference's CPU that each server takes."""
    names = [OURS, *(name for name in next(iter(values.values())) if name not in (OURS, REFERENCE))]
    longest = max(value for each in values.values() for value in each.values())
    group = len(names) * BAR + GAP
    height = TOP + group * len(values) + 30
    scale = WIDTH / longest
    parts = [
        _text(10, 20, "CPU for a request, as a multiple of the same rows without GraphQL", "bold"),
        *_legend(names),
    ]
    for row, (what, each) in enumerate(values.items()):
        top = TOP + row * group
        parts.append(_text(10, top + group / 2, what))
        for place, name in enumerate(names):
            y, width = top + place * BAR, each[name] * scale
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS[place]}"/>')
            parts.append(_text(LEFT + width + 5, y + 10, f"{each[name]:.1f}"))
    one = LEFT + scale
    parts.append(f'<path d="M{one:.1f} {TOP - 6}V{height - 28}" stroke="{COLOURS[-1]}" stroke-dasharray="3"/>')
    parts.append(_text(10, height - 10, about))
    size = f'width="{LEFT + WIDTH + 50}" height="{height}"'
    style = 'font-family="sans-serif" font-size="12"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{ground}{"".join(parts)}</svg>\n'


def _legend(names: Sequence[str]) -> Iterator[str]:
    for place, name in enumerate(names):
        x = LEFT + 130 * place
        yield f'<rect x="{x}" y="34" width="10" height="10" fill="{COLOURS[place]}"/>{_text(x + 15, 43, name)}'


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}">{escape(text)}</text>'
