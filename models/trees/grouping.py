"""How trees are cut into groups of leaves that are answered by one look-up.

A group is a subtree with the conditions on the way to it. A row meets or misses each condition, so it falls
on one of 2^bits patterns. Splits on the time interval are followed, not asked: a group belongs to a range of
intervals, and where a subtree asks for time either its children become groups or it is pruned once for each
range of intervals, whichever costs less.
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from features.errors import InvalidInput, Problem
from models.trees.xgboost_json import Condition, Tree

MOST_BITS = 8
ENTRIES_PER_COST = 512.0

Span = tuple[int, int]
Path = dict[int, "Step"]


class Step(NamedTuple):
    """A feature on the way to a node: what it must fulfil so far, and the cover share that follows."""

    condition: Condition
    share: float


class Need(NamedTuple):
    """What a leaf needs of a feature: the pattern's bits under ``mask`` equal ``want``; and its share."""

    mask: int
    want: int
    share: float


@dataclass(frozen=True)
class Leaf:
    """A leaf's margin and what it needs of each feature on its path."""

    value: float
    needs: dict[int, Need]


@dataclass(frozen=True)
class Group:
    """Leaves of one tree that share conditions, over a range of time intervals."""

    span: Span
    conditions: tuple[Condition, ...]
    leaves: tuple[Leaf, ...]

    @property
    def features(self) -> list[int]:
        """Return the features that the conditions ask for, each once, in order."""
        return sorted({condition.feature for condition in self.conditions})

    @property
    def entries(self) -> int:
        """Return the size of the group's table."""
        return len(self.features) << len(self.conditions)

    @property
    def cost(self) -> float:
        """Return roughly how long a row takes, in additions; a larger table is further from the processor."""
        count = len(self.conditions) + len(self.features)
        return count + self.entries / ENTRIES_PER_COST + 1.0


@dataclass(frozen=True)
class Planner:
    """Cuts one tree into groups; ``time`` is the feature that stands for the interval, if any."""

    tree: Tree
    time: int | None
    bits: int = MOST_BITS

    def groups(self, intervals: int) -> list[Group]:
        """Return groups that cover every leaf in every interval once."""
        return self._plan(0, {}, (0, intervals))

    def _plan(self, node: int, path: Path, span: Span) -> list[Group]:
        node = self._follow(node, span)
        tree = self.tree
        if tree.left[node] == -1:
            return [
                Group(
                    span,
                    tuple(step.condition for step in path.values()),
                    (Leaf(tree.value(node), _needs(path)),),
                )
            ]
        if tree.feature[node] == self.time:
            cut = self._cut(node)
            low, high = (span[0], cut), (cut, span[1])
            return self._plan(tree.left[node], path, low) + self._plan(tree.right[node], path, high)
        whole = self._whole(node, path, span)
        apart = [group for child, way in self._sides(node, path) for group in self._plan(child, way, span)]
        if whole and sum(g.cost for g in whole) <= sum(g.cost for g in apart):
            return whole
        return apart

    def _follow(self, node: int, span: Span) -> int:
        """Return the first node at which this span of intervals does not go one way together."""
        tree = self.tree
        while tree.left[node] != -1 and tree.feature[node] == self.time:
            cut = self._cut(node)
            if span[0] < cut < span[1]:
                break
            node = tree.left[node] if span[1] <= cut else tree.right[node]
        return node

    def _cut(self, node: int) -> int:
        return ceil(self.tree.number[node])

    def _sides(self, node: int, path: Path) -> Iterator[tuple[int, Path]]:
        tree, feature = self.tree, self.tree.feature[node]
        known = path.get(feature)
        for child, left in ((tree.left[node], True), (tree.right[node], False)):
            condition, share = tree.condition(node, left=left), tree.share(node, child)
            if known is None:
                step = Step(condition, share)
            else:
                step = Step(known.condition.both(condition), known.share * share)
            yield child, path | {feature: step}

    def _whole(self, node: int, path: Path, span: Span) -> list[Group] | None:
        """Return the subtree as one group for each range of intervals, if each is small enough."""
        room = self.bits - len(path)
        if self.tree.splits[node] > room and self.time is None:
            return None
        cuts = self._cuts(node, span)
        if cuts is None or self.tree.splits[node] > 2 * room:
            return None
        bounds = [span[0], *cuts, span[1]]
        groups = [self._group(node, path, part) for part in pairwise(bounds)]
        found = [group for group in groups if group]
        return found if len(found) == len(groups) else None

    def _cuts(self, node: int, span: Span) -> list[int] | None:
        """Return where the subtree splits the span; None where it does so more often than pays."""
        if self.time is None:
            return []
        cuts: list[int] = []
        waiting = [node]
        while waiting and len(cuts) <= self.bits:
            at = waiting.pop()
            if self.tree.left[at] == -1:
                continue
            if self.tree.feature[at] == self.time:
                cut = self._cut(at)
                if span[0] < cut < span[1] and cut not in cuts:
                    cuts.insert(bisect(cuts, cut), cut)
            waiting += (self.tree.left[at], self.tree.right[at])
        return None if len(cuts) > self.bits else cuts

    def _group(self, node: int, path: Path, span: Span) -> Group | None:
        conditions = [step.condition for step in path.values()]
        needs = _needs(path)
        leaves: list[Leaf] = []
        waiting = [(node, needs)]
        while waiting and len(conditions) <= self.bits:
            at, needs = waiting.pop()
            at = self._follow(at, span)
            if self.tree.left[at] == -1:
                leaves.append(Leaf(self.tree.value(at), needs))
                continue
            bit, feature = 1 << len(conditions), self.tree.feature[at]
            conditions.append(self.tree.condition(at, left=True))
            for child, want in ((self.tree.right[at], 0), (self.tree.left[at], bit)):
                share, known = self.tree.share(at, child), needs.get(feature, Need(0, 0, 1.0))
                need = Need(known.mask | bit, known.want | want, known.share * share)
                waiting.append((child, needs | {feature: need}))
        if len(conditions) > self.bits:
            return None
        return Group(span, tuple(conditions), tuple(leaves))


def _needs(path: Path) -> dict[int, Need]:
    """Return what a leaf behind a path needs: each feature's condition met, one bit a feature."""
    return {f: Need(1 << at, 1 << at, step.share) for at, (f, step) in enumerate(path.items())}


def plan(trees: Sequence[Tree], *, time: int | None, intervals: int, most: int) -> list[Group]:
    """Return groups of all trees whose tables hold together at most ``most`` entries, or as few as can be.

    Raises:
        InvalidInput: when a leaf depends on more than eight features.
    """
    for bits in range(MOST_BITS, 0, -1):
        groups = [g for tree in trees for g in Planner(tree, time, bits).groups(intervals)]
        if sum(g.entries for g in groups) <= most:
            break
    if any(len(group.conditions) > MOST_BITS for group in groups):
        fault = f"a leaf depends on more than {MOST_BITS} features"
        raise InvalidInput("xgboost model", [Problem("max_depth", fault, "boost flatter trees")])
    return groups
