"""A board is let cool until it stops cooling, never longer than allowed, and not at all where nobody asked or it cannot tell."""

import pytest

from edgekd.device import cool


@pytest.fixture
def board(monkeypatch):
    """A clock that only sleeping moves, and a board with these temperatures, one a look."""

    def with_temperatures(*celsius):
        now, seen = [100.0], iter(celsius)
        monkeypatch.setattr(cool.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(cool.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
        monkeypatch.setattr(cool.probe, "conditions", lambda: {"temperature_c": next(seen)})

    return with_temperatures


@pytest.mark.parametrize(
    ("celsius", "waited_s", "to_c"),
    [((50, 50, 50, 50, 50), 6.0, 50), ((70, 60, 55, 52, 51, 50.5, 50.4, 50.3, 50.2), 14.0, 50.3)],
)
def test_a_board_is_let_cool_until_it_stops_cooling(board, celsius, waited_s, to_c):
    board(*celsius)
    assert cool.down({"most_s": 120}) == {"waited_s": waited_s, "from_c": celsius[0], "to_c": to_c}


def test_no_longer_than_allowed(board):
    board(*range(90, 0, -2))
    assert cool.down({"most_s": 20})["waited_s"] == 20.0


def test_not_at_all_where_nobody_asked_or_it_does_not_tell(board):
    board(None, 80)
    assert cool.down(None) is None and cool.down({"most_s": 20}) is None
    assert cool.down({"most_s": 0}) == {"waited_s": 0.0, "from_c": 80, "to_c": 80}
