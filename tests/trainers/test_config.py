"""Training files: what is read, what is overridden, what is refused and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import InputError
from trainers.config import Config, read_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_training_file_is_valid(path: Path) -> None:
    assert read_config(path).name == path.stem


def test_there_are_shipped_training_files() -> None:
    assert CONFIGS


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("--optim.lr=1e-3", lambda c: c.optim.lr, 1e-3),
        ("optim.epochs=3", lambda c: c.optim.epochs, 3),
        ("--size=[64, 96]", lambda c: c.size, (64, 96)),
        ("--name=mine", lambda c: c.name, "mine"),
        ("--data.clutter=0", lambda c: c.data.clutter, 0.0),
    ],
)
def test_an_override_replaces_its_key_only(override: str, get, value, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nseed: 5\n")
    config = read_config(path, (override,))
    assert get(config) == value
    assert config.seed == 5


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("name: a\nsede: 1\n", (), r"a.yaml: sede: unknown key, did you mean 'seed'\?"),
        ("name: a\noptim: {epoch: 1}\n", (), r"a.yaml: optim.epoch: unknown key, did you mean 'epochs'\?"),
        ("name: a\noptim: {lr: -1}\n", (), "a.yaml: optim.lr: -1, input should be greater than 0"),
        ("name: a\noptim: {lr: .inf}\n", (), "a.yaml: optim.lr: inf, input should be a finite number"),
        (
            "name: a\noptim: {weight_decay: .nan}\n",
            (),
            "optim.weight_decay: nan, input should be a finite",
        ),
        (
            "name: a\naugment: {noise: 1000}\n",
            (),
            "augment.noise: 1000, input should be less than",
        ),
        ("name: a\nmodel: {widths: [0, 8, 8, 8, 8]}\n", (), "model.widths.0: 0, input should be greater"),
        ("name: a\nmodel: {widths: [8, 8]}\n", (), r"model.widths.2: \[8, 8\], field required"),
        ("name: a\nmodel: {depths: [1, 1, 1, -1]}\n", (), "model.depths.3: -1, input should be greater"),
        ("name: a\nthreads: 100000\n", (), "threads: 100000, input should be less than or equal to 1024"),
        (
            "name: a\nseed: 99999999999999999999\n",
            (),
            "seed: 9{20}, input should be less than",
        ),
        ("name: a\nsize: [99999968, 64]\n", (), "size.0: 99999968, input should be less than or equal to"),
        ("name: a\nsize: [100, 64]\n", (), "a.yaml: size: 100x64, multiples of 32 are right"),
        ("name: a\nmodel: {arch: yolact}\nsize: [20, 64]\n", (), "20x64, 32 or more is right for yolact"),
        ("name: a\nmodel: {arch: ssd300_vgg16}\n", (), "size: 320x192, 300x300 is right for ssd300_vgg16"),
        (
            "name: a\nmodel: {arch: ssd300_vgg16}\nsize: [300, 300]\naugment: {multi_scale: 0.2}\n",
            (),
            "augment.multi_scale: ssd300_vgg16 takes one size only",
        ),
        (
            "name: a\ndata: {classes: [car, car]}\n",
            (),
            r"a.yaml: data.classes: \['car', 'car'\], 'car' is there twice, once is right",
        ),
        ("seed: 1\n", (), "a.yaml: name: .*, field required"),
        ("- 1\n", (), "a.yaml: list, a mapping of keys is right"),
        ("a: [\n", (), "a.yaml: cannot be read as YAML"),
        ("name: a\n", ("--optim.lr",), "--key=value is right"),
        ("name: a\n", ("--name.x=1",), "name is a value"),
        (
            "name: a\n",
            ("--model.widths=[16,24",),
            r"'--model.widths=\[16,24': cannot be read as YAML, \[1, 2\]",
        ),
    ],
)
def test_mistakes_are_named_with_file_and_key(
    text: str, overrides: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_config(path, overrides)


@pytest.mark.parametrize(
    ("arch", "size"),
    [
        ("ssd300_vgg16", (300, 300)),
        ("yolact_resnet50", (550, 550)),
        ("ssd_small", (100, 70)),
        ("yolox_s", (640, 352)),
    ],
)
def test_a_family_takes_its_papers_size(arch: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\nmodel: {{arch: {arch}}}\nsize: {list(size)}\n")
    assert read_config(path).size == size


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere.yaml: no such file"):
        read_config("nowhere.yaml")


def test_a_configuration_survives_the_checkpoint() -> None:
    config = Config(name="a", size=(64, 96))
    assert Config.model_validate(config.model_dump(mode="json")) == config
