"""Label files: what is read, what is refused with file and line or id."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.errors import InputError
from engines.masks import bitmap
from trainers.config import Config
from trainers.data.coco import _runs, read_coco
from trainers.data.dataset import open_dataset
from trainers.data.pictures import Pictures, Record, check_picture
from trainers.data.voc import read_voc
from trainers.data.yolo_txt import read_yolo
from trainers.train import train

CLASSES = ("cat", "dog")


def picture(path: Path, size: tuple[int, int] = (40, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 90, np.uint8))
    return path


def coco(folder: Path, **changes: Any) -> Path:
    """A file of one picture of 40x20 with one dog and one crowd; ``changes`` replace fields of the dog."""
    picture(folder / "a.jpg")
    dog = {"id": 7, "image_id": 3, "category_id": 18, "bbox": [10, 5, 20, 10], "iscrowd": 0, "area": 200}
    dog |= {"segmentation": [[10, 5, 30, 5, 30, 15, 10, 15]], "keypoints": [20, 10, 2]} | changes
    tree = {
        "images": [{"id": 3, "file_name": "a.jpg", "width": 40, "height": 20}],
        "annotations": [dog, dog | {"id": 8, "iscrowd": 1}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(tree))
    return path


def voc(folder: Path, name: str = "dog", box: tuple[object, ...] = (11, 6, 30, 15)) -> Path:
    picture(folder / "a.png")
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    text = "<annotation>\n<size><width>40</width><height>20</height></size>\n"
    text += f"<object><name>{name}</name>\n<bndbox>{corners}</bndbox></object>\n</annotation>\n"
    (folder / "a.xml").write_text(text)
    return folder


def yolo(folder: Path, text: str = "1 0.5 0.5 0.5 0.5\n") -> Path:
    picture(folder / "a.png")
    (folder / "a.txt").write_text(text)
    return folder


def check(record: Record) -> None:
    """A dog in the middle of the picture."""
    sample = Pictures([record], 640, "detect")[0]
    assert sample.image.shape == (20, 40, 3)
    assert np.allclose(sample.boxes, [[10, 5, 30, 15]], atol=1e-3)
    assert sample.classes.tolist() == [1]


def test_every_reader_reads_the_same_box(tmp_path: Path) -> None:
    records, names = read_coco(tmp_path / "coco", coco(tmp_path / "coco"))
    assert names == ("cat", "dog")  # by id; the crowd is left out
    check(records[0])
    check(read_voc(voc(tmp_path / "voc"), tmp_path / "voc", CLASSES)[0])
    check(read_yolo(yolo(tmp_path / "yolo"), tmp_path / "yolo", CLASSES)[0])


def test_crowds_and_areas_of_coco_are_kept_for_measuring(tmp_path: Path) -> None:
    records, _ = read_coco(tmp_path, coco(tmp_path))
    sample = Pictures(records, 20, "segment")[0]
    assert sample.areas.tolist() == [50]  # of 200 pixels at half the size
    assert sample.crowds.boxes == pytest.approx(np.array([[5, 2.5, 15, 7.5]]))
    assert sample.crowds.classes.tolist() == [1]
    assert len(sample.crowds.masks) == 1
    unknown, _ = read_coco(tmp_path, coco(tmp_path, area=None))
    assert Pictures(unknown, 20, "segment")[0].areas.tolist() == [0]


@pytest.mark.parametrize("outlined", [True, False], ids=["outlined", "only a box"])
@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_outlines_or_else_boxes_become_masks(kind: str, outlined: bool, tmp_path: Path) -> None:
    if kind == "coco":
        record = read_coco(tmp_path, coco(tmp_path, **({} if outlined else {"segmentation": []})))[0][0]
    else:
        text = "1 .25 .25 .75 .25 .75 .75 .25 .75\n" if outlined else "1 .5 .5 .5 .5\n"
        record = read_yolo(yolo(tmp_path, text), tmp_path, CLASSES)[0]
    sample = Pictures([record], 640, "segment")[0]
    left, top, grid = bitmap(sample.masks, 0, sample.boxes[0], (40, 20))
    assert (left, top) == (10, 5)
    assert grid[:10, :20].all()


@pytest.mark.parametrize("packed", [True, False])
def test_a_run_length_code_is_read_too(packed: bool, tmp_path: Path) -> None:
    from pycocotools import mask

    shape = np.zeros((20, 40), np.uint8, order="F")
    shape[5:15, 10:30] = 1
    runs = [205, *[10, 10] * 19, 10, 205]  # down the columns
    counts = mask.encode(shape)["counts"].decode() if packed else runs
    path = coco(tmp_path, segmentation={"size": [20, 40], "counts": counts})
    sample = Pictures(read_coco(tmp_path, path)[0], 640, "segment")[0]
    _, _, grid = bitmap(sample.masks, 0, sample.boxes[0], (40, 20))
    assert grid.sum() == shape.sum()


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_keypoints_come_in_pixels(kind: str, tmp_path: Path) -> None:
    if kind == "coco":
        records, _ = read_coco(tmp_path, coco(tmp_path), keypoints=1)
    else:
        records = read_yolo(yolo(tmp_path, "1 .5 .5 .5 .5 .5 .5 2\n"), tmp_path, CLASSES, keypoints=1)
    assert Pictures(records, 640, "pose")[0].keypoints.tolist() == [[[20, 10, 2]]]


def test_a_large_picture_shrinks_with_its_boxes(tmp_path: Path) -> None:
    record = read_yolo(yolo(tmp_path), tmp_path, CLASSES)[0]
    sample = Pictures([record], 20, "detect")[0]
    assert sample.image.shape == (10, 20, 3)
    assert sample.boxes.tolist() == [[5, 2.5, 15, 7.5]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n1 .5 .5 .2 .2\n2 .5 .5 .2 .2\n", r"a\.txt:3: class 2, 0\.\.1 is right"),
        ("0.5 .5 .5 .2 .2\n", r"a\.txt:1: class 0\.5"),
        ("1 .5 .5 .2\n", r"a\.txt:1: 4 numbers, 5 for a box"),
        ("1 .1 .1 .5 .1 .5 .5 .1\n", r"a\.txt:1: 8 numbers, 5 for a box or 7, 9, \.\.\. for an outline"),
        ("1 .9 .5 .4 .2\n", r"a\.txt:1: reaches outside"),
        ("1 .5 .5 0 .2\n", r"a\.txt:1: width 0 and height 0\.2"),
        ("1 .5 x .2 .2\n", r"a\.txt:1: could not convert .*'x', numbers are right"),
        ("\n", r"no objects: every label file is empty"),
        ("1 nan .5 .2 .2\n", r"a\.txt:1: '1 nan \.5 \.2 \.2', finite numbers are right"),
        ("inf .5 .5 .2 .2\n", r"a\.txt:1: 'inf .*', finite numbers are right"),
        ("1 .1 .5 .5 .5 .7 .5\n", r"a\.txt:1: an outline without area, corners of a polygon are right"),
    ],
)
def test_yolo_mistakes_are_named_with_file_and_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_yolo(yolo(tmp_path, text), tmp_path, CLASSES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"category_id": 99}, r"annotation 7: category_id 99 is none"),
        ({"image_id": 4}, r"annotation 7: image_id 4 is none"),
        ({"bbox": [30, 5, 20, 10]}, r"annotation 7 of image 3: bbox .* reaches outside its picture of 40x20"),
        ({"bbox": [10, 5, -3, 10]}, r"annotation 7 of image 3: bbox .* has no area"),
        ({"bbox": None}, r"annotation 7 of image 3: bbox: none, \[x, y, width, height\] is right"),
        ({"bbox": [10, 5]}, r"annotation 7 of image 3: bbox: \[10, 5\], \[x, y, width, height\] is right"),
        ({"bbox": [10, 5, 0, 10]}, r"labels\.json: no objects"),
        ({"iscrowd": 1}, r"labels\.json: no objects"),
        ({"keypoints": [1, 2]}, r"annotation 7 of image 3: 2 numbers of keypoints, 3 are right"),
    ],
)
def test_coco_mistakes_are_named_with_ids(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_coco(tmp_path, coco(tmp_path, **changes), keypoints=1)


AT = r"labels\.json: annotation 7 of image 3: "


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bbox", ["10", "5", "20", "10"], AT + r"bbox: \['10', '5', '20', '10'\], \[x, y, width"),
        ("bbox", 5, AT + r"bbox: 5, \[x, y"),
        ("bbox", {"x": 1}, AT + r"bbox: \{'x': 1\}, \[x, y"),
        ("bbox", [10, math.nan, 20, 10], AT + r"bbox: \[10, nan, 20, 10\], \[x, y"),
        ("bbox", [10, 5, 20, 10**400], AT + r"bbox: .*, \[x, y"),
        ("id", None, r"annotation number 1: id: none, a whole number or a word is right"),
        ("image_id", [3], r"annotation 7: image_id: \[3\], a whole number or a word is right"),
        ("category_id", [18], r"annotation 7: category_id: \[18\], a whole number is right"),
        ("iscrowd", "0", r"annotation 7: iscrowd: '0', 0 or 1 is right"),
        ("area", "big", r"annotation 7: area: 'big', a number of pixels is right"),
        ("area", -1, r"annotation 7: area: -1, a number of pixels is right"),
        ("area", math.nan, r"annotation 7: area: nan, a number of pixels is right"),
        ("segmentation", "abc", AT + r"segmentation: 'abc', polygons or a run-length code is right"),
        ("segmentation", [[]], AT + r"segmentation: \[\], polygons as \[x1, y1, .*\] are right"),
        ("segmentation", [10, 5, 30, 5, 30, 15], AT + r"segmentation: 10, polygons as"),
        ("segmentation", [[10, 5, 30, 5, 30]], AT + r"segmentation: \[10, 5, 30, 5, 30\], polygons as"),
        ("segmentation", [[10, 5, 30, 15]], AT + r"segmentation: .*, polygons as"),
        ("segmentation", [[10, 5, 30, math.nan, 30, 15]], AT + r"segmentation: .*, polygons as"),
        ("segmentation", [[10, 5, 30, 5, 30, 9e8]], AT + r"segmentation: .* is far outside its picture"),
        ("segmentation", {"counts": [800]}, AT + r"segmentation\.size: none, the picture's \[20, 40\]"),
        ("segmentation", {"size": [40, 20], "counts": [800]}, AT + r"segmentation\.size: \[40, 20\], the"),
        ("segmentation", {"size": [20, 40]}, AT + r"segmentation\.counts: none, runs of all 800 pixels"),
        ("segmentation", {"size": [20, 40], "counts": [9, 9]}, AT + r"segmentation\.counts: \[9, 9\], runs"),
        ("segmentation", {"size": [20, 40], "counts": [-1, 801]}, AT + r"segmentation\.counts: .*, runs"),
        ("segmentation", {"size": [20, 40], "counts": "P1"}, AT + r"segmentation\.counts: 'P1', runs"),
        ("segmentation", {"size": [20, 40], "counts": "zz##"}, AT + r"segmentation\.counts: 'zz##', runs"),
        ("keypoints", None, AT + r"keypoints: none, 3 numbers are right"),
        ("keypoints", ["a", 1, 2], AT + r"keypoints: \['a', 1, 2\], 3 numbers are right"),
        ("keypoints", [20, math.nan, 2], AT + r"keypoints: \[20, nan, 2\], 3 numbers are right"),
        ("keypoints", [20, 10, 7], AT + r"keypoints: v 7, 0, 1 or 2 is right"),
        ("keypoints", [2000, 10, 2], AT + r"keypoints are far outside the picture"),
    ],
)  # fmt: skip
def test_every_value_of_coco_is_checked_and_named(key: str, value: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_coco(tmp_path, coco(tmp_path, **{key: value}), keypoints=1)


@pytest.mark.parametrize(
    ("what", "row", "said"),
    [
        ("images", "x", r"image number 2: 'x', an object with id, file_name, width, height is right"),
        ("images", {"id": 4, "file_name": 5}, r"image 4: file_name: 5, the name of a file is right"),
        (
            "images",
            {"id": 4, "file_name": "a.jpg"},
            r"image 4: width: none, a number of pixels, 1\.\.65535, is",
        ),
        (
            "images",
            {"id": 3, "file_name": "b.jpg", "width": 9, "height": 9},
            r"image 3: id: 3 is there twice",
        ),
        (
            "annotations",
            None,
            r"annotation number 3: none, an object with id, category_id, image_id is right",
        ),
        ("categories", {"name": "z"}, r"category number 3: id: none, a whole number is right"),
        ("categories", {"id": "19", "name": "z"}, r"category 19: id: '19', a whole number is right"),
        ("categories", {"id": 19}, r"category 19: name: none, a word is right"),
        ("categories", {"id": 18, "name": "z"}, r"category 18: id: 18 is there twice, once is right"),
        ("categories", {"id": 19, "name": "cat"}, r"category 19: name: 'cat' is there twice, once is right"),
    ],
)
def test_every_row_of_coco_is_checked_and_named(what: str, row: Any, said: str, tmp_path: Path) -> None:
    labels = coco(tmp_path)
    tree = json.loads(labels.read_text())
    tree[what].append(row)
    labels.write_text(json.dumps(tree))
    with pytest.raises(InputError, match=rf"labels\.json: {said}"):
        read_coco(tmp_path, labels)


def test_the_pixels_of_a_packed_code_are_counted_without_decoding() -> None:
    from pycocotools import mask

    rng = np.random.default_rng(2)
    for share in (0.0, 0.02, 0.5, 1.0):
        bitmap = np.asfortranarray((rng.random((37, 53)) < share).astype(np.uint8))
        assert _runs(mask.encode(bitmap)["counts"].decode()) == 37 * 53


def test_coco_boxes_without_area_are_left_out_and_counted(tmp_path: Path) -> None:
    labels = coco(tmp_path)
    tree = json.loads(labels.read_text())
    thin = [{"id": 9, "bbox": [10, 5, 0, 10]}, {"id": 10, "bbox": [10, 5, 20, 0.0]}]
    tree["annotations"] += [tree["annotations"][0] | row for row in thin]
    labels.write_text(json.dumps(tree))
    data = {"kind": "coco", "images": str(tmp_path), "labels": str(labels)}
    dataset = open_dataset(Config.model_validate({"name": "a", "data": data}))
    assert dataset.remarks == [f"{labels}: 2 annotations left out, as their boxes have no area"]
    samples, _ = dataset.samples("detect", lambda done: None)
    assert samples[0].boxes == pytest.approx(np.array([[10, 5, 30, 15]]))


@pytest.mark.parametrize(
    ("name", "box", "said"),
    [
        ("dig", (11, 6, 30, 15), r"a\.xml:3: class 'dig' is none of the classes, did you mean 'dog'\?"),
        ("dog", (11, 6, 60, 15), r"a\.xml:3: bndbox .* reaches outside its picture of 40x20"),
        ("dog", (31, 6, 30, 15), r"a\.xml:3: bndbox .* has no area"),
        ("dog", ("", 6, 30, 15), r"a\.xml:3: bndbox: four numbers are right"),
        ("dog</name>", (11, 6, 30, 15), r"a\.xml:3: not XML"),
        ("dog", ("nan", 6, 30, 15), r"a\.xml:3: bndbox: four numbers are right"),
    ],
)
def test_voc_mistakes_are_named_with_file_and_line(
    name: str, box: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        read_voc(voc(tmp_path, name, box), tmp_path, CLASSES)


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_a_box_a_little_beyond_its_picture_ends_with_it(kind: str, tmp_path: Path) -> None:
    if kind == "coco":
        (record,), _ = read_coco(tmp_path, coco(tmp_path, bbox=[-1, -1, 42, 22]))
    elif kind == "voc":
        (record,) = read_voc(voc(tmp_path, box=(0, 1, 41, 21)), tmp_path, CLASSES)
    else:
        (record,) = read_yolo(yolo(tmp_path, "1 .5 .5 1.003 1.003\n"), tmp_path, CLASSES)
    assert record.boxes.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("side", ["nan", "0", ""])
def test_voc_without_a_size_is_refused(side: str, tmp_path: Path) -> None:
    path = voc(tmp_path) / "a.xml"
    path.write_text(path.read_text().replace("<width>40", f"<width>{side}"))
    with pytest.raises(InputError, match=r"a\.xml: size: width and height in pixels are right"):
        read_voc(tmp_path, tmp_path, CLASSES)


def test_what_only_looks_like_an_object_of_voc_is_none(tmp_path: Path) -> None:
    path = voc(tmp_path) / "a.xml"
    text = path.read_text().replace("</annotation>", "<!--\n<object>old</object> --><object-count/>\n")
    path.write_text(f"{text}<object><name>dig</name></object></annotation>")
    with pytest.raises(InputError, match=r"a\.xml:8: class 'dig'"):
        read_voc(tmp_path, tmp_path, CLASSES)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_voc_is_read_in_the_encoding_that_it_declares(encoding: str, tmp_path: Path) -> None:
    path = voc(tmp_path, "Rüde") / "a.xml"
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    path.write_bytes((declared + path.read_text()).encode(encoding))
    assert read_voc(tmp_path, tmp_path, ("Rüde",))[0].classes.tolist() == [0]


def test_an_encoding_that_the_parser_does_not_know_is_named(tmp_path: Path) -> None:
    path = voc(tmp_path) / "a.xml"
    path.write_bytes(b'<?xml version="1.0" encoding="gbk"?>' + path.read_bytes())
    with pytest.raises(InputError, match=r"a\.xml: not XML: .*, utf-8 is right"):
        read_voc(tmp_path, tmp_path, CLASSES)


@pytest.mark.parametrize(
    ("points", "said"),
    [(".5 .5 9", r"keypoints: v 9, 0, 1 or 2 is right"), ("3.4 .5 2", r"keypoints are far outside the")],
)
def test_keypoints_of_yolo_that_no_picture_has_are_refused(points: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"a\.txt:1: {said}"):
        read_yolo(yolo(tmp_path, f"1 .5 .5 .5 .5 {points}\n"), tmp_path, CLASSES, keypoints=1)


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_a_byte_order_mark_is_no_part_of_the_labels(kind: str, tmp_path: Path) -> None:
    path = coco(tmp_path) if kind == "coco" else yolo(tmp_path) / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    read = read_coco(tmp_path, path)[0] if kind == "coco" else read_yolo(tmp_path, tmp_path, CLASSES)
    check(read[0])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_a_picture_that_is_cut_off_is_found_by_its_ends(suffix: str, tmp_path: Path) -> None:
    path = picture(tmp_path / f"a{suffix}")
    check_picture(path, "labels")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"labels: .*: broken picture, its end is missing"):
        check_picture(path, "labels")


def test_what_is_no_picture_is_found_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"hello world" * 9)
    with pytest.raises(InputError, match=r"labels: .*a\.jpg: broken picture, its first bytes are of no kind"):
        check_picture(path, "labels")


@pytest.mark.parametrize("kind", ["coco", "yolo", "voc"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_picture_that_cannot_be_used_is_named_before_training(
    kind: str, damage: str, tmp_path: Path
) -> None:
    {"coco": coco, "yolo": yolo, "voc": voc}[kind](tmp_path)
    (path,) = (path for path in tmp_path.iterdir() if path.suffix in (".jpg", ".png"))
    picture(tmp_path / "other.png")
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    labels = {"coco": tmp_path / "labels.json"}.get(kind, tmp_path)
    said = {
        "missing": "a.jpg: No such file|no picture a in",
        "empty": "is empty",
        "cut": "its end is missing",
    }
    settings = {"kind": kind, "images": str(tmp_path), "labels": str(labels)}
    settings |= {"classes": CLASSES} if kind != "coco" else {}
    with pytest.raises(InputError, match=said[damage]):
        open_dataset(Config.model_validate({"name": "a", "data": settings}))


def turned(path: Path, size: tuple[int, int]) -> None:
    """Write a JPEG that EXIF turns by a quarter to ``size``, the dog's box in it white."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[5:15, 10:30] = 255
    data = cv2.imencode(".jpg", np.ascontiguousarray(np.rot90(image)))[1].tobytes()
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])


def read(kind: str, folder: Path, size: tuple[int, int] = (40, 20)) -> Record:
    """The record of that kind of label file, which tells 40x20, beside a picture that EXIF turns."""
    labels = {"coco": coco, "voc": voc, "yolo": yolo}[kind](folder)
    (folder / "a.png").unlink(missing_ok=True)
    turned(folder / "a.jpg", size)
    if kind == "coco":
        return read_coco(folder, labels)[0][0]
    return (read_voc if kind == "voc" else read_yolo)(folder, folder, CLASSES)[0]


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_a_picture_is_turned_as_its_exif_says(kind: str, tmp_path: Path) -> None:
    sample = Pictures([read(kind, tmp_path)], 640, "detect")[0]
    assert sample.image.shape == (20, 40, 3)
    assert sample.image[6:14, 11:29].min() > 200
    assert sample.image[:, :8].max() < 50


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_a_picture_labelled_as_it_is_stored_stays_so(kind: str, tmp_path: Path) -> None:
    sample = Pictures([read(kind, tmp_path, (20, 40))], 640, "detect")[0]
    assert sample.image.shape == (20, 40, 3)


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_labels_of_a_picture_of_another_size_are_refused(kind: str, tmp_path: Path) -> None:
    record = read(kind, tmp_path, (48, 20))
    with pytest.raises(InputError, match=r"a\.jpg: 48x20 pixels, its labels are for a picture of 40x20"):
        Pictures([record], 640, "detect")[0]


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_a_smaller_copy_of_a_picture_has_the_labels_of_the_large_one(kind: str, tmp_path: Path) -> None:
    whole, half = (Pictures([read(kind, tmp_path, size)], 640, "detect")[0] for size in ((40, 20), (20, 10)))
    assert half.image.shape == (10, 20, 3)
    np.testing.assert_allclose(half.boxes, whole.boxes / 2)


def test_a_picture_that_does_not_decode_is_named(tmp_path: Path) -> None:
    yolo(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\xff\xd8\xff of nothing \xff\xd9")
    records = read_yolo(tmp_path, tmp_path, CLASSES)
    with pytest.raises(InputError, match=r"a\.png: broken picture, it cannot be decoded"):
        Pictures(records, 640, "detect")[0]


KEYPOINTS = [20, 10, 2] * 17


@pytest.mark.parametrize(
    ("arch", "kind", "settings", "said"),
    [
        ("yolact", "voc", {}, r"data\.kind: voc has no masks, .* is right for yolact"),
        ("pose", "voc", {}, r"data\.kind: voc has no keypoints, .* is right for pose"),
        ("pose_topdown", "coco", {}, r"data\.keypoints: 0, 17 is right for pose_topdown"),
        ("pose_topdown", "coco", {"keypoints": 17}, r"data\.people: false, true is right for pose_topdown"),
        (
            "pose_topdown",
            "coco",
            {"people": True, "classes": ["dog"]},
            r"data\.people: nobody in the labels has keypoints",
        ),
        (
            "pose_topdown",
            "coco",
            {"people": True, "keypoints": 17},
            r"data\.classes: cat, dog: one is right with data\.people: true",
        ),
    ],
)
def test_labels_without_what_the_network_learns_from_are_refused(
    arch: str, kind: str, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    labels = coco(tmp_path, keypoints=KEYPOINTS) if kind == "coco" else voc(tmp_path)
    data = {"kind": kind, "images": str(tmp_path), "labels": str(labels), "classes": CLASSES}
    tree = {"name": "a", "size": (64, 64), "model": {"arch": arch}, "data": data | settings}
    with pytest.raises(InputError, match=said):
        train(Config.model_validate(tree), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_people_are_cut_out_of_labelled_pictures(kind: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", (80, 60))
    labels = coco(tmp_path, bbox=[20, 10, 20, 40], keypoints=[30, 30, 2] * 5 + [0, 0, 0] * 12)
    if kind == "coco":
        tree = json.loads(labels.read_text())
        tree["images"][0] |= {"width": 80, "height": 60}
        labels.write_text(json.dumps(tree))
    else:
        yolo(tmp_path, "0 .375 .5 .25 .6667" + " .375 .5 2" * 5 + " 0 0 0" * 12 + "\n")
    picture(tmp_path / "a.jpg", (80, 60))
    (tmp_path / "a.png").unlink(missing_ok=True)
    where = {"images": str(tmp_path), "labels": str(labels if kind == "coco" else tmp_path)}
    data = where | {"kind": kind, "classes": ["dog"], "keypoints": 17, "people": True}
    config = Config.model_validate({"name": "a", "size": (48, 64), "data": data})
    crops, _ = open_dataset(config).samples("pose", lambda done: None)
    (crop,) = crops
    assert crop.image.shape == (64, 48, 3)
    assert crop.classes.tolist() == [0]
    ((x0, y0, x1, y1),) = crop.boxes.tolist()
    assert 45 < y1 - y0 < 60  # the person fills most of the crop
    assert crop.keypoints[0, 0].tolist() == pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2, 2], abs=0.1)
    assert not crop.keypoints[0, 5:].any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "coco", "images": "nowhere"}, "data: kind coco needs both images and labels"),
        ({"kind": "yolo", "images": "nowhere", "labels": "b"}, "data: kind yolo needs classes"),
        ({"kind": "coco", "images": "nowhere", "labels": "b.json"}, r"b\.json: No such file"),
        ({"kind": "yolo", "images": "nowhere", "labels": "b", "classes": ["a"]}, "nowhere: no such folder"),
    ],
)
def test_a_data_set_that_is_not_there_is_one_sentence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_dataset(Config.model_validate({"name": "a", "data": settings}))
