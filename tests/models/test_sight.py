"""The three models of sight on pictures whose content is known."""

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omni import assets
from omni.config import OmniConfig
from omni.dialog.scene import Scene
from omni.errors import AssetError
from omni.models.embedded.blobs import Blob, blobs
from omni.models.embedded.torch_file import read_state_dict
from omni.stages.looker import EmbeddedLooker
from omni.types import Pixels
from tests.pictures import encoded, page, photo


@pytest.fixture(scope="module")
def looker(embedded: OmniConfig) -> EmbeddedLooker:
    return EmbeddedLooker(assets.folder(embedded, "see"), num_threads=1)


def note(looker: EmbeddedLooker, picture: Pixels) -> str:
    scene = Scene()
    scene.update(looker.look_closely(picture, 0))
    return scene.note


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cat.png", ["brown cat"]),
        ("coffee.png", ["espresso", "red cup"]),
        ("astronaut.png", ["person in orange"]),
    ],
)
def test_the_thing_in_a_photo_is_named(looker: EmbeddedLooker, name: str, words: list[str]) -> None:
    said = note(looker, photo(name))
    assert all(word in said for word in words), said


@pytest.mark.models
@pytest.mark.parametrize("tilt", [-8, 0, 8])
def test_print_is_read_to_the_letter(looker: EmbeddedLooker, tilt: float) -> None:
    lines = ("The meeting is on Friday", "at noon. Bring a laptop.", "Call 555-0142")
    look = looker.look_closely(np.asarray(page(*lines, tilt=tilt)), 0)
    assert look.lines == lines


@pytest.mark.models
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_words_are_kept_apart(looker: EmbeddedLooker, kind: str) -> None:
    lines = ("OPEN UNTIL SEVEN", "Closed on Sundays", "No parking, 8 am to 6 pm")
    picture = np.asarray(Image.open(BytesIO(encoded(page(*lines), kind))))
    assert looker.look_closely(picture, 0).lines == lines


@pytest.mark.models
def test_a_glance_reads_large_print_and_finds_none_where_there_is_none(
    looker: EmbeddedLooker,
) -> None:
    assert looker.look(np.asarray(page("OPEN UNTIL SEVEN")), 0).lines == ("OPEN UNTIL SEVEN",)
    assert looker.look(photo("cat.png"), 0).lines == ()


@pytest.mark.models
def test_an_empty_picture_holds_nothing(looker: EmbeddedLooker) -> None:
    assert note(looker, np.full((480, 640, 3), 90, np.uint8)) == "I see nothing that I recognise."


@pytest.mark.models
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (900, 2), (33, 1000)])
def test_any_shape_can_be_looked_at(looker: EmbeddedLooker, shape: tuple[int, int]) -> None:
    looker.look_closely(np.zeros((*shape, 3), np.uint8), 0)


def test_blobs_are_found_apart_with_their_tilt() -> None:
    field = np.zeros((80, 120), np.float32)
    field[10:20, 5:65] = 0.9
    for x in range(60):  # a line that falls by one in four
        field[40 + x // 4 : 48 + x // 4, 40 + x] = 0.9
    field[70:72, 5:7] = 0.9  # too small
    field[60:70, 5:30] = 0.4  # not sure enough
    level, tilted = sorted(blobs(field, 0.3, 0.6, 3), key=lambda blob: blob.centre[1])
    assert level.bounds == pytest.approx((5, 10, 65, 20), abs=0.5)
    assert np.degrees(tilted.tilt) == pytest.approx(14, abs=1.5)


def test_a_tilted_crop_is_upright() -> None:
    upright = page("", "", "", "OPEN UNTIL SEVEN")
    centre = 190, 256
    straight = np.asarray(Blob(centre, 300, 60, 0).crop(upright, 48), int)
    turned = upright.rotate(-10, center=centre, resample=Image.Resampling.BICUBIC)
    crop = np.asarray(Blob(centre, 300, 60, np.radians(10)).crop(turned, 48), int)
    assert crop.shape == (48, 240, 3)
    assert straight.std() > 40
    assert np.abs(crop - straight).mean() < 8


def test_a_weights_file_that_would_run_something_is_refused(
    tmp_path: Path,
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("sprung",)

    out = BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {}, Trap()):
        pickle.dump(part, out, protocol=2)
    path = tmp_path / "trap.pth"
    path.write_bytes(out.getvalue())
    with pytest.raises(AssetError, match="not allowed"):
        read_state_dict(path)
