"""Blocks alternate, every query counts, and the plan decides how many there are."""

from hypothesis import given
from hypothesis import strategies as st

from edgekd.device import timing

PLAN = {"rounds": 3, "queries": 4, "block": 4, "discard": 2, "round_s": 0.0, "budget_s": 1.0}


def test_blocks_alternate_and_discarded_queries_are_not_counted():
    calls = []
    done = timing.timed_rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, PLAN, lambda: calls.append("|"))
    settled = "a" * (2 + 11) + "b" * (2 + 11)
    assert "".join(calls) == settled + "a" * 6 + "b" * 6 + "|" + "b" * 6 + "a" * 6 + "|" + "a" * 6 + "b" * 6 + "|"
    assert [len(one) for one in done["rounds"]["a"]] == [4, 4, 4] == [len(one) for one in done["rounds"]["b"]]
    assert (done["turns"], len(done["samples"]), len(done["waited_share"]["a"])) == ([1, 1, 1], 3, 3)


def test_fast_models_take_turns_within_a_round():
    calls = []
    plan = {**PLAN, "rounds": 2, "round_s": 0.001, "budget_s": 0.0022}
    queries = {name: lambda name=name: calls.append(name) for name in "ab"}
    done = timing.timed_rounds(queries, plan, lambda: calls.append("|"))
    first = "".join(calls).split("|")[0][26:]
    assert done["turns"][0] > 2 and first.startswith("a" * 6 + "b" * 12 + "a" * 6)
    assert [len(one) for one in done["rounds"]["b"]] == [4 * turns for turns in done["turns"]]


def test_the_queries_of_a_round_are_divided_into_short_blocks():
    calls = []
    queries = {name: lambda name=name: calls.append(name) for name in "ab"}
    done = timing.timed_rounds(queries, {**PLAN, "rounds": 1, "block": 3, "discard": 1}, lambda: None)
    assert "".join(calls)[24:] == "aaaa" + "bbbb" + "bbbb" + "aaaa"
    assert done["turns"] == [2] and len(done["rounds"]["a"][0]) == 6


def test_a_slow_query_is_in_the_times_in_milliseconds():
    import time

    done = timing.timed_rounds({"slow": lambda: time.sleep(0.002)}, PLAN, lambda: None)
    assert all(ms >= 2.0 for one in done["rounds"]["slow"] for ms in one)
    assert all(share > 0.5 for share in done["waited_share"]["slow"])  # asleep is not running


def test_a_query_that_times_itself_is_believed_in_milliseconds():
    done = timing.timed_rounds({"gpu": lambda: 0.25}, PLAN, lambda: None)
    assert done["rounds"]["gpu"] == [[0.25] * 4] * 3


def test_the_span_of_each_timed_block_is_told_without_its_discarded_queries():
    import time

    calls = []
    done = timing.timed_rounds({"a": lambda: calls.append(time.monotonic())}, PLAN, lambda: None)
    blocks = [calls[13 + 6 * number :][:6] for number in range(3)]
    for (start, end), block in zip(done["spans"]["a"], blocks, strict=True):
        assert block[1] <= start <= block[2] and block[-1] <= end


@given(
    rounds=st.integers(1, 20), queries=st.integers(1, 500), block=st.integers(1, 100), discard=st.integers(0, 20),
    round_s=st.floats(0, 5),
    budget_s=st.floats(0, 100), seconds=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)  # fmt: skip
def test_turns_fill_a_round_within_the_budget_and_are_never_too_few(rounds, queries, block, discard, round_s, budget_s, seconds):
    plan = {"rounds": rounds, "queries": queries, "block": block, "discard": discard, "round_s": round_s, "budget_s": budget_s}
    turns = timing.turns_in_a_round(plan, dict(enumerate(seconds)))
    turn_s, least = max(1e-6, sum(seconds) * (block + discard)), -(-queries // block)
    assert turns >= least
    assert turns == least or turns * turn_s * rounds <= budget_s * (1 + 1e-9)
    assert turns * turn_s * rounds + turn_s * rounds >= min(round_s * rounds, budget_s) - 1e-6
