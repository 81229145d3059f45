"""What bench_matmul.py and bench_matmul_cpu.py measure: shapes, formats, peers, and the
least time of a product.

A cell is one product, y [M, N] = x [M, K] Wᵀ, by one contestant: a format of aotiny's or a peer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

# N, K of models' linear layers: Gemma-31B's gate and up, its down, Llama-8B's gate and up, and its
# attention's output. The latter's keys and values are (1024, 4096).
SHAPES = [(43008, 5376), (5376, 21504), (28672, 4096), (4096, 4096)]
ROWS = [1, 2, 3, 4, 5, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
QUICK_SHAPES = [(28672, 4096), (4096, 4096)]
QUICK_ROWS = [1, 4, 16, 128, 1024]

ACTIVATIONS = ("default", "int8", "native")
ROTATED_BYTES = 300e6  # that pass between two uses of a weight, several times an L2 cache
GRAPH_US = 2000  # about how long a graph's calls should take, so that its launch is no part of it
MAX_CALLS = 200  # in a graph

# The largest |y - exact| / |exact| over a cell's output, exact being x times the dequantized weight
# in fp32. bf16 rounds weights and results to 8 bits, each by about 1e-3; int8 rounds activations in
# blocks of 32, which for normal ones comes to 4.8e-3. Outputs are filled with NaN before.
BOUNDS = {"bf16": 4e-3, "int8": 1e-2}


@dataclass(frozen=True)
class Format:
    """A format of aotiny's. Its peers are those that need at least its bits for a weight, torch's
    int4 counting for 4-bit formats alone."""

    type: str
    variant: str
    group_size: int
    has_int8: bool
    peers: tuple[str, ...]

    def fits(self, k: int) -> bool:
        """Whether k is a multiple of what the format takes together, a super-block of 256 or 32."""
        return k % (256 if self.variant == "C" or self.type == "ExactInt4" else 32) == 0


@dataclass(frozen=True)
class Peer:
    """torch's product: in bf16 or fp32, with the weight of a format of aotiny's that it can read
    too, or with one that torch packs for the processor."""

    weight: str
    max_m: int | None


_DENSE = ("torch-bf16", "torch-fp32")
_INT4 = (*_DENSE, "torch-int4-32", "torch-int4pack-32")
FORMATS = {
    "CoalescedInt4": Format("CoalescedInt4", "C", 32, True, _INT4),
    "CoalescedInt4-A": Format("CoalescedInt4", "A", 32, True, _INT4),
    "ExactInt4": Format("ExactInt4", "", 32, True, _INT4),
    "PlanarInt6": Format("PlanarInt6", "C", 16, True, _DENSE),
    "PlanarInt6-A": Format("PlanarInt6", "A", 16, True, _DENSE),
    "Int8": Format("Int8", "A", 32, True, _DENSE),
    "Int4TilePacked-32": Format("Int4TilePacked", "8", 32, False, _INT4),
    "Int4TilePacked-128": Format("Int4TilePacked", "8", 128, False, (*_DENSE, "torch-int4-128")),
}
PEERS = {
    "torch-bf16": Peer("bf16", None),
    "torch-fp32": Peer("fp32", None),
    # Beyond 128 rows it takes longer still, and nobody would call it.
    "torch-int4-32": Peer("Int4TilePacked-32", 128),
    "torch-int4-128": Peer("Int4TilePacked-128", 128),
    "torch-int4pack-32": Peer("int4pack-32", None),
}

GPU_FORMATS = [name for name in FORMATS if not name.endswith("-A")]
GPU_PEERS = ["torch-bf16", "torch-int4-32", "torch-int4-128"]
CPU_FORMATS = [name for name in FORMATS if name != "Int4TilePacked-128"]
CPU_PEERS = ["torch-bf16", "torch-fp32", "torch-int4pack-32"]


@dataclass(frozen=True)
class Cell:
    n: int
    k: int
    m: int
    name: str
    activation: str  # as matmul is asked; "native" for a peer

    @property
    def weight(self) -> str:
        """The format of the weight; "bf16" or "fp32" for a dense one."""
        return PEERS[self.name].weight if self.name in PEERS else self.name

    @property
    def arithmetic(self) -> str:
        """The fastest that the contestant may use: int8's rate is twice that of bf16."""
        is_int8 = self.name in FORMATS and FORMATS[self.name].has_int8
        return "int8" if is_int8 and self.activation != "native" else "bf16"


def chosen_cells(
    shapes: Sequence[tuple[int, int]],
    rows: Sequence[int],
    formats: Sequence[str],
    activations: Sequence[str] = ("default",),
    peers: Sequence[str] = tuple(GPU_PEERS),
) -> Iterator[Cell]:
    """The cells in the order of measuring: those with the same weight come together. Of the peers,
    those that one of the formats has."""
    wanted = {peer for name in formats for peer in FORMATS[name].peers}
    peers = [name for name in peers if name in wanted]
    for n, k in shapes:
        # A peer comes after the format whose weight it shares.
        contestants = [(name, "native") for name in peers if PEERS[name].weight not in FORMATS]
        for weight in FORMATS:
            if weight in formats:
                for activation in activations:
                    if activation != "int8" or FORMATS[weight].has_int8:
                        contestants.append((weight, activation))
            contestants += [(name, "native") for name in peers if PEERS[name].weight == weight]
        for name, activation in contestants:
            limit = PEERS[name].max_m if name in PEERS else None
            for m in rows:
                if limit is None or m <= limit:
                    yield Cell(n, k, m, name, activation)


def copies_of(weight_bytes: int, m: int, n: int) -> int:
    """How many weights to take in turns, each with an output of its own: at least two, and as many
    as make ROTATED_BYTES of both."""
    return max(2, ceil(ROTATED_BYTES / (weight_bytes + 2 * m * n)))


def rounds_of(copies: int, call_us: float) -> int:
    """How often a graph goes through the copies, with calls that take about call_us."""
    for_time = ceil(GRAPH_US / (copies * max(call_us, 1)))
    return max(1, min(for_time, ceil(MAX_CALLS / copies)))


def floor_us(row: dict, rates: dict) -> float:
    """The least time of a measured cell, in microseconds: the larger of what reading its inputs and
    writing its output takes, each once, and of what its operations take.

    row has m, n, k, weight_bytes and arithmetic; rates has read_bytes_per_s and, for each
    arithmetic, operations_per_s. Without the latter reading alone counts.
    """
    m, n, k = row["m"], row["n"], row["k"]
    nbytes = row["weight_bytes"] + 2 * m * k + 2 * m * n
    seconds = nbytes / rates["read_bytes_per_s"]
    if "operations_per_s" in rates:
        rate = rates["operations_per_s"][row["arithmetic"]]
        seconds = max(seconds, 2 * m * n * k / rate)
    return seconds * 1e6


def best_peer_us(row: dict, rows: Sequence[dict]) -> float | None:
    """The time of the fastest measured peer of a format's cell; None if none was measured."""
    if row["name"] in PEERS:
        return None
    times = [
        other["us"]
        for other in rows
        if other["name"] in FORMATS[row["name"]].peers
        and all(other[size] == row[size] for size in ("m", "n", "k"))
    ]
    return min(times, default=None)
