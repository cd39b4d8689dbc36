"""Waits that would close a circle are refused: nobody in it could ever go on."""

from __future__ import annotations

from collections.abc import Mapping

from roost.domain.flow import WAITS_FOR_JOBS, circle, endless
from roost.domain.states import State
from roost.engine.driver import Transaction
from roost.engine.work.flow import Need, Wait
from roost.engine.work.texts import pack, unpack
from roost.errors import DependencyCycle

EDGES_FOLLOWED = 10_000
"""How far it is looked whether a wait closes a circle: beyond that the clock must end it, or a person."""


def endless_waits(transaction: Transaction, waits: list[Wait], needs: Mapping[int, Need]) -> dict[int, DependencyCycle]:
    """Those that would wait for jobs that wait for them, all without a time to go on at.

    Only a wait for a job that waits for jobs itself costs more than a look at ``needs``. One transaction after the
    other looks behind those: of two waits that close one circle together, the second sees the first.
    """
    untimed = [each for each in waits if each.wait.jobs and not each.timed]
    behind = {id for id, need in needs.items() if need.state is State.WAITING and need.reason == WAITS_FOR_JOBS}
    behind &= {id for each in untimed for id in each.wait.jobs}
    known: dict[int, list[int]] = {}
    if behind:
        transaction.one("circles_lock")
        for job, need in unpack(transaction.one("waits_behind", ids=pack(sorted(behind)), limit=EDGES_FOLLOWED)):
            known.setdefault(job, []).append(need)
    refused: dict[int, DependencyCycle] = {}
    for facts, wait, _ in untimed:
        others = [id for id in wait.jobs if id != facts.id]
        found = circle(facts.id, others, known)
        if found is None:
            known[facts.id] = others
        else:
            refused[facts.id] = endless(found)
    return refused
