"""Units in order, groups in their fixed places."""

from hypothesis import given
from hypothesis import strategies as st

from omni.dialog.tdm import ORDER, Group, Multiplexer


def test_groups_of_a_unit_stand_in_order_whatever_came_first() -> None:
    mux = Multiplexer()
    for modality in ("text", "audio", "vision"):
        mux.add(0, Group(modality, modality))  # type: ignore[arg-type]
    (unit,) = mux.close_until(0)
    assert [group.modality for group in unit.groups] == list(ORDER)


def test_what_comes_late_joins_the_next_unit() -> None:
    mux = Multiplexer()
    mux.add(0, Group("audio", "one"))
    assert [unit.unit_index for unit in mux.close_until(0)] == [0]
    mux.add(0, Group("audio", "late"))
    mux.add(1, Group("vision", "seen"))
    (unit,) = mux.close_until(3)
    assert unit.unit_index == 1
    assert [group.text for group in unit.groups] == ["seen", "late"]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(ORDER), st.booleans())))
def test_every_group_comes_out_once_and_units_only_go_forward(script) -> None:  # type: ignore[no-untyped-def]
    mux = Multiplexer()
    units = []
    for number, (unit_index, modality, is_closing) in enumerate(script):
        mux.add(unit_index, Group(modality, str(number)))
        if is_closing:
            units += list(mux.close_until(unit_index))
    units += list(mux.close_until(100))
    indices = [unit.unit_index for unit in units]
    assert indices == sorted(set(indices))
    texts = [group.text for unit in units for group in unit.groups]
    assert sorted(texts, key=int) == [str(number) for number in range(len(script))]
