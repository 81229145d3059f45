"""Times of work on a GPU: CUDA graphs, replayed one after another."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

import torch
from matmul_cells import rounds_of

import aotiny

BUDGET_US = 25_000  # about how long the replays of one graph may take
FEWEST, MOST = 3, 25  # replays


def captured(
    stream: torch.cuda.Stream, calls: Sequence[Callable[[], object]]
) -> tuple[torch.cuda.CUDAGraph, list]:
    """A graph of the calls, one after another, and what they returned."""
    graph = torch.cuda.CUDAGraph()
    with (
        torch.cuda.graph(graph, stream=stream),
        aotiny.cuda.stream(stream.cuda_stream, stream.device_index),
    ):
        results = [call() for call in calls]
    return graph, results


def replay_times(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream, count: int) -> list[float]:
    """Microseconds of that many replays. They are put into the stream at once, after one that is
    not counted, so that the host's part of a launch is over before the GPU comes to it."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    with torch.cuda.stream(stream):
        graph.replay()
        for event in events[:-1]:
            event.record()
            graph.replay()
        events[-1].record()
    stream.synchronize()
    return [a.elapsed_time(b) * 1e3 for a, b in pairwise(events)]


def time_calls(
    stream: torch.cuda.Stream, calls: Sequence[Callable[[], object]], graph: torch.cuda.CUDAGraph
) -> dict:
    """The median time of a call, and what a tenth and nine tenths of the replays stayed below.

    graph is of the calls, once each. Where they take little time, one that goes through them often
    enough takes its place.
    """
    times = replay_times(graph, stream, FEWEST)
    rounds = rounds_of(len(calls), median(times) / len(calls))
    if rounds > 1:
        graph, _ = captured(stream, list(calls) * rounds)
    count = min(MOST, int(BUDGET_US / (median(times) * rounds)))
    if rounds > 1 or count > FEWEST:
        times = replay_times(graph, stream, max(FEWEST, count))
    number = len(calls) * rounds
    times = sorted(round(time / number, 3) for time in times)
    tenth = len(times) // 10
    return {
        "us": median(times),
        "us_low": times[tenth],
        "us_high": times[-1 - tenth],
        "calls": number,
        "replays": len(times),
    }
