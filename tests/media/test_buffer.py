"""Sound by position, whatever the chunking."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omni.media.buffer import SampleBuffer


@given(
    st.lists(st.integers(0, 50), max_size=20),
    st.integers(1, 64),
    st.integers(-5, 400),
    st.integers(-5, 400),
)
def test_a_slice_is_what_was_said_then(
    sizes: list[int], capacity: int, start: int, end: int
) -> None:
    buffer = SampleBuffer(capacity)
    everything = np.arange(sum(sizes), dtype=np.float32)
    position = 0
    for size in sizes:
        buffer.append(everything[position : position + size])
        position += size
    assert buffer.position == len(everything)
    first = max(start, len(everything) - capacity, 0)
    expected = everything[first : max(end, first)]
    got = buffer.slice(start, end)
    assert np.array_equal(got, expected if end > first else expected[:0])
    assert not got.flags.writeable
