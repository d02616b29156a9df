"""Different vectors of a system, each near a direction that a class wants: an assignment problem, by auction.

The auction algorithm (D. P. Bertsekas, Annals of Operations Research 14, 1988): vectors have prices, zero at first. A
class without a vector bids for the one worth most to it, closeness less price, and offers as much more as it would
lose by its second choice, plus epsilon. The highest bidder holds the vector until it is outbid. At the end no class
would gain more than epsilon by any other vector and vectors without a holder are free of charge, so the total
closeness is within epsilon a class of the largest there is.

A class looks at its k nearest vectors only, with k from 8, doubled on demand. No vector beyond those is worth more to
it than the k-th is close; while its best offer is worth that much, the proof covers the vectors it never saw. Classes
whose nearest vector nobody else wants take no part.
"""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor

from rootspace.assign.base import check_room
from rootspace.assign.codes import decode, encode
from rootspace.systems import VectorSystem

#: The most that a class may lose against the best assignment, on average, as a cosine.
EPSILON = 1e-3

#: Candidates of a class that bids for the first time.
FEWEST = 8

#: Candidates that may be looked up: so many a class, and so many more in all. A system of `SMALL` size has no limit.
CANDIDATES = (16, 2**20)
SMALL = 4096

#: Epsilon doubles each time that so many offers have been compared (some seconds); a round counts as `ROUND` more.
PATIENCE, ROUND = 2**27, 2**13

#: Noise against directions: at first, by how much it grows, and how often before random vectors are drawn.
NOISE, GROWTH, ATTEMPTS = 0.1, 1.02, 250

#: Numbers held at a time.
BLOCK = 2**22


def nearest_free(system: VectorSystem, directions: Tensor, taken: Tensor | None = None) -> Tensor:
    """Different vectors of the system, each near its direction, none of those `taken`: (N, n) -> float32 (N, n).

    taken: (M, n) different vectors of the system, such as those of classes that were there before.

    The total of <direction, vector> is at most N `EPSILON` norm max|direction| below the largest possible, but for
    rounding. Two rules bound the cost where very many classes crowd together, and there the bound on the total is lost:
    epsilon doubles after each `PATIENCE` of bidding, and classes that find nothing within `CANDIDATES` take free
    vectors found by decoding their directions with noise, less near than what a longer search would find.
    Deterministic; at equal bids the smaller class number wins. Raises `InputError` for more directions than vectors.
    """
    used = torch.zeros(0, dtype=torch.int64) if taken is None else keys_of(encode(system, taken).cpu())
    check_room(system, len(directions) + len(used))
    directions = directions.detach()
    vectors = system.nearest(directions).float()
    codes = encode(system, vectors).cpu()
    keys = keys_of(codes)
    if len(torch.unique(keys)) == len(keys) and not bool(torch.isin(keys, used).any()):
        return vectors
    auction = _Auction(system, directions, codes, keys, used)
    auction.run()
    letters = torch.tensor([float(value) for value in system.alphabet])
    vectors = decode(system, auction.codes[auction.held.clamp_min(0)], letters).to(vectors)
    left = (auction.held < 0).nonzero()[:, 0]
    if len(left):
        used = torch.cat([used, auction.keys[auction.owner >= 0]])
        vectors[left] = _scattered(system, directions[left], used).to(vectors)
    return vectors


class _Auction:
    """Prices of vectors and the offers of classes; on the CPU, where many small steps cost least.

    `held` (N,) is the number of each class's vector, or -1; row i of `codes`, `keys`, `price` and `owner` belongs to
    vector i. Candidates of class c are rows start[c] to start[c] + width[c] of `wanted` and `closeness`.
    """

    def __init__(self, system: VectorSystem, directions: Tensor, codes: Tensor, keys: Tensor, used: Tensor) -> None:
        n_classes = len(directions)
        self.used = used
        self.system, self.directions = system, directions
        self.epsilon = EPSILON * system.norm * (float(directions.norm(dim=1).max()) or 1.0)
        self.work = self.rounds = 0
        self.allowance = CANDIDATES[0] * n_classes + CANDIDATES[1]
        # who alone wants a vector as its nearest holds it, free of charge; the others bid
        self.keys, nearest, rivals = torch.unique(keys, return_inverse=True, return_counts=True)
        self.owner = torch.empty_like(self.keys)
        self.owner[nearest] = torch.arange(n_classes)
        self.codes = codes[self.owner]
        self.price = self._first_price(self.keys)
        contested = (rivals > 1) | self.price.isinf()
        self.owner[contested] = -1
        self.held = torch.where(contested[nearest], -1, nearest)
        self.waiting = (self.held < 0).nonzero()[:, 0]
        self.start = torch.zeros(n_classes, dtype=torch.int64)
        self.width = torch.zeros(n_classes, dtype=torch.int64)
        self.bound = torch.zeros(n_classes, dtype=torch.float64)
        self.short = torch.ones(n_classes, dtype=torch.bool)
        self.wanted = torch.zeros(0, dtype=torch.int64)
        self.closeness = torch.zeros(0, dtype=torch.float64)

    def run(self) -> None:
        """Bid until every class holds a vector, but for those that find none within their candidates."""
        while len(self.waiting):
            ready = self.waiting[~self.short[self.waiting]]
            if len(ready):
                self._bid(ready)
            else:
                self._widen(self.waiting)

    def _bid(self, ready: Tensor) -> None:
        """One round: of the classes that are ready, those with the commonest number of candidates bid at once."""
        width = int(self.width[ready].mode().values)
        who = ready[self.width[ready] == width].sort().values[: max(1, BLOCK // width)]
        self._count(len(who) * width)
        place = self.start[who, None] + torch.arange(width)
        worth = self.closeness[place] - self.price[self.wanted[place]]
        best = worth.amax(1)
        enough = best >= self.bound[who]
        self.short[who] = ~enough
        who, place, worth, best = who[enough], place[enough], worth[enough], best[enough]
        # classes that are alike must not all bid for one vector: each takes another of those within epsilon / 2
        near = worth >= (best - self.epsilon / 2)[:, None]
        turn = (who + self.rounds) % near.sum(1) + 1
        choice = (near & (near.cumsum(1) == turn[:, None])).int().argmax(1, keepdim=True)
        second = worth.scatter(1, choice, float("-inf")).amax(1).maximum(self.bound[who])
        vector = self.wanted[place.gather(1, choice)[:, 0]]
        offer = self.price[vector] + worth.gather(1, choice)[:, 0] - second + self.epsilon
        self._award(who, vector, offer)

    def _first_price(self, keys: Tensor) -> Tensor:
        """Nothing, but for vectors in use, which are not to be had."""
        return torch.where(torch.isin(keys, self.used), float("inf"), 0.0).double()

    def _count(self, offers: int) -> None:
        self.rounds += 1
        self.work += offers + ROUND
        if self.work > PATIENCE:
            self.work, self.epsilon = 0, 2 * self.epsilon

    def _award(self, who: Tensor, vector: Tensor, offer: Tensor) -> None:
        won = _highest(vector, offer)
        who, vector = who[won], vector[won]
        outbid = self.owner[vector]
        outbid = outbid[outbid >= 0]
        self.held[outbid] = -1
        self.held[who], self.owner[vector], self.price[vector] = vector, who, offer[won]
        self.waiting = torch.cat([self.waiting[self.held[self.waiting] < 0], outbid])

    def _widen(self, who: Tensor) -> None:
        """Twice as many candidates for each class, as far as the allowance goes; the other classes leave."""
        small = self.system.size <= SMALL
        for width in self.width[who].unique().tolist():
            group = who[self.width[who] == width].sort().values
            k = min(max(FEWEST, 2 * width), self.system.size)
            if not small:
                group, leaving = group.tensor_split([self.allowance // k])
                self.allowance -= len(group) * k
                self.waiting = self.waiting[~torch.isin(self.waiting, leaving)]
            for part in group.split(max(1, BLOCK // (self.system.size if small else k * self.system.dim))):
                self._look_up(part, k)

    def _look_up(self, who: Tensor, k: int) -> None:
        closeness, codes = _candidates(self.system, self.directions[who.to(self.directions.device)], k)
        keys = keys_of(codes)
        new = _new(keys, self.keys)
        self.codes = torch.cat([self.codes, codes[new]])
        self.price = torch.cat([self.price, self._first_price(keys[new])])
        self.owner = torch.cat([self.owner, torch.full((len(new),), -1)])
        self.keys = torch.cat([self.keys, keys[new]])
        ascending, by_key = self.keys.sort()
        self.start[who] = len(self.wanted) + k * torch.arange(len(who))
        self.wanted = torch.cat([self.wanted, by_key[torch.searchsorted(ascending, keys)]])
        self.closeness = torch.cat([self.closeness, closeness.reshape(-1)])
        self.width[who], self.short[who] = k, False
        self.bound[who] = closeness[:, -1] if k < self.system.size else float("-inf")


def _candidates(system: VectorSystem, directions: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest vectors: closeness, float64 (N, k) descending, and codes, (N k, ...), on the CPU."""
    if system.size <= SMALL:
        every = system.all(torch.float32, directions.device)
        closeness, index = (directions.double() @ every.double().T).topk(k, dim=1)
        return closeness.cpu(), encode(system, every).cpu()[index.reshape(-1).cpu()]
    closeness, vectors = system.nearest_k(directions, k)
    return closeness.double().cpu(), encode(system, vectors.float().reshape(-1, system.dim)).cpu()


def _scattered(system: VectorSystem, directions: Tensor, taken: Tensor) -> Tensor:
    """Different vectors, none of them `taken` (keys): what directions with growing noise decode to, or random ones."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.empty_like(directions, dtype=torch.float32)
    waiting = torch.arange(len(directions))
    noise = NOISE * (float(directions.norm(dim=1).max()) or 1.0) / system.dim**0.5
    for attempt in count():
        if attempt < ATTEMPTS:
            shift = torch.randn(len(waiting), system.dim, generator=generator).to(directions)
            here = directions[waiting.to(directions.device)]
            found = system.nearest(here + noise * GROWTH**attempt * shift).float()
        else:
            found = system.random(2 * len(waiting) + 1000, generator)
        keys = keys_of(encode(system, found).cpu())
        free = _new(keys, taken)[: len(waiting)]
        # a vector found with noise belongs to the class that looked there, a random one to any
        lucky = waiting[free] if attempt < ATTEMPTS else waiting[: len(free)]
        vectors[lucky.to(vectors.device)] = found[free.to(found.device)].to(vectors)
        taken, waiting = torch.cat([taken, keys[free]]), waiting[~torch.isin(waiting, lucky)]
        if not len(waiting):
            break
    return vectors


def keys_of(codes: Tensor) -> Tensor:
    """A number for each code, int64 (N,): vectors with one number count as one (for different ones: 1 in 2^57)."""
    if codes.ndim == 1:
        return codes
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**63), 2**63 - 1, (codes.shape[1],), generator=generator).to(codes.device)
    rows = max(1, BLOCK // codes.shape[1])
    return torch.cat([(part.long() * factors).sum(1) for part in codes.split(rows)])


def _new(keys: Tensor, known: Tensor) -> Tensor:
    """The rows, ascending, at which a key that is not known comes up for the first time."""
    order = keys.argsort(stable=True)
    first = order[starts(keys[order])]
    return first[~torch.isin(keys[first], known)].sort().values


def starts(ordered: Tensor) -> Tensor:
    """Where a sorted row of numbers takes a new value: (N,) -> bool (N,)."""
    return torch.cat([torch.ones_like(ordered[:1], dtype=torch.bool), ordered[1:] != ordered[:-1]])


def _highest(group: Tensor, offer: Tensor) -> Tensor:
    """The row with the highest offer in each group, the first of equal ones, groups ascending."""
    order = offer.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    return order[starts(group[order])]
