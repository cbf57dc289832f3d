"""What is wrong with the workers of a cluster: what, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sentiment_train.runtime.cluster import Cluster
from sentiment_train.runtime.hello import Hello, difference


def same_port(cluster: Cluster, mine: Hello, other: Hello) -> str:
    """Two processes want the same port of one machine."""
    if other.addresses != mine.addresses:
        return str(other_than(mine, other))
    if other.index != mine.index:
        names = " and ".join(map(cluster.name, sorted((mine.index, other.index))))
        return f"{_start(names)} are the same port of one machine. Mend TF_CONFIG."
    return (
        f"Another process is already {cluster.name(mine.index)}. Start each worker once, with an"
        " index of its own in TF_CONFIG."
    )


def two_processes(cluster: Cluster, index: int, where: str) -> str:
    """Two processes on different machines say that they are the same worker."""
    return (
        f"Two processes say that they are {cluster.name(index)}; the second one calls from {where}."
        " Give each worker an index of its own in TF_CONFIG."
    )


def wrong_index(cluster: Cluster, index: int, found: int) -> str:
    """At the address of one worker another one answers."""
    return (
        f"At the address of {cluster.name(index)} there is a process that says it is worker"
        f" {found}. Mend its index in TF_CONFIG."
    )


def other_than(mine: Hello, other: Hello) -> str | None:
    """What must be equal differs; None if it does not."""
    found = difference(mine, other)
    if found is None:
        return None
    return (
        f"{_called(other)} has {found} of {_called(mine).lower()}. All workers need the same list,"
        " command, gin files and packages."
    )


def _called(hello: Hello) -> str:
    known = 0 <= hello.index < len(hello.addresses)
    return f"Worker {hello.index}" + (f" ({hello.addresses[hello.index]})" if known else "")


def missing(
    cluster: Cluster,
    came: Iterable[int],
    reached: Iterable[int],
    cannot_reach: Mapping[int, Mapping[int, str]],
    why_not: Mapping[int, str],
    seconds: float,
) -> str:
    """Who is not there when the time is up, as far as the chief knows.

    Args:
      came: the workers that have reached the chief.
      reached: the workers that the chief has reached.
      cannot_reach: whom the workers that told have not reached, and why.
      why_not: why the chief has not reached the others.
      seconds: that were waited.
    """
    absent = [i for i in cluster.others if i not in came and i not in reached]
    if absent:
        names = " and ".join(map(cluster.name, absent))
        return f"{_start(names)} {_did_not_come(why_not.get(absent[0]), seconds)}"
    pairs = [(0, i, why_not.get(i, "no answer")) for i in cluster.others if i not in reached]
    pairs += [(i, j, why) for i, whom in cannot_reach.items() for j, why in whom.items()]
    pairs += [(i, 0, "no connection from there") for i in reached if i not in came]
    if pairs:
        i, j, why = pairs[0]
        return (
            f"{_start(cluster.name(i))} cannot connect to {cluster.name(j)}, which is there: {why}."
            " Look at the addresses in TF_CONFIG and at firewalls."
        )
    return f"Not all workers were ready within {seconds:g} seconds. {_AGAIN}"


def no_chief(cluster: Cluster, why: str | None, seconds: float) -> str:
    """A worker alone."""
    return f"{_start(cluster.name(0))}, the chief, {_did_not_come(why, seconds)}"


def silent_chief(cluster: Cluster, seconds: float) -> str:
    """The chief is there and decides nothing."""
    return f"{_start(cluster.name(0))}, the chief, says nothing for {seconds:g} seconds. {_AGAIN}"


def _did_not_come(why: str | None, seconds: float) -> str:
    return f"did not come within {seconds:g} seconds ({why or 'no answer'}). {_AGAIN}"


_AGAIN = "Start the same command on every worker, or raise Runtime.wait_for_workers."


def gone_meanwhile(cluster: Cluster, index: int) -> str:
    """A worker was there when they met, and then was not."""
    return (
        f"{_start(cluster.name(index))} has gone while the workers met. Look at its output, and"
        " start the same command on every worker again."
    )


def gone(cluster: Cluster, index: int, how: str) -> str:
    """A worker ended in the middle of the work without a word."""
    return (
        f"{cluster.name(index)} has gone ({how}). Start the same command on every worker again; a"
        " training goes on from the last checkpoint."
    )


def ended(cluster: Cluster, index: int, sentence: str) -> str:
    """A worker ended with an error of its own."""
    return f"{cluster.name(index)} ended: {sentence}"


def _start(text: str) -> str:
    return text[0].upper() + text[1:]
