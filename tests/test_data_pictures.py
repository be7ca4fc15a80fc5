"""Data sets that stay on disk: official layouts made tiny, and what runs read of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from replib.attacks import PGD
from replib.data import ROLES, Augmentation, Data
from replib.data import load as loading
from replib.data.augment import augment, resized_crop, to_float
from replib.data.listings import LISTINGS, listing
from replib.data.load import load
from replib.data.pictures import Pictures
from replib.data.status import SOURCES, Source, examine
from replib.experiments.jobs import execute
from replib.models import Net
from replib.spec import ReplibError, task
from replib.training import CrossEntropy, Train


def save(path, value, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value,) * 3 if mode == "RGB" else value).save(path, "PNG")


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """Two classes with 14 training and 3 validation pictures, whose grey tells which they are."""
    for c, wnid in enumerate(("n02", "n01")):
        for i in range(14):
            save(tmp_path / "imagenet" / "train" / wnid / f"{wnid}_{i:02}.JPEG", 100 * c + i, (40, 30 + i), "L" if i == 1 else "RGB")
        for i in range(3):
            save(tmp_path / "imagenet" / "val" / wnid / f"ILSVRC2012_val_{2 * i + c:08}.JPEG", 100 * c + 50 + i)
    small = replace(ROLES["imagenet"], shape=(3, 16, 16), classes=2, n_train=8, n_val=20, n_test=6)
    monkeypatch.setitem(ROLES, "imagenet", small)
    loading._load.cache_clear()
    yield tmp_path
    loading._load.cache_clear()


def test_imagenet_is_listed_class_by_class(imagenet):
    found = listing("imagenet", imagenet)
    assert [(p.name, c) for p, c in found["train"]] == [(f"{w}_{i:02}.JPEG", c) for c, w in enumerate(("n01", "n02")) for i in range(4)]
    assert [p.name for p, _ in found["val"]] == [f"{w}_{i:02}.JPEG" for w in ("n01", "n02") for i in range(4, 14)]
    assert [c for _, c in found["test"]] == [0] * 3 + [1] * 3
    assert examine("imagenet", imagenet)[0] == "present"
    (imagenet / "imagenet" / "val" / "n01" / "ILSVRC2012_val_00000001.JPEG").unlink()
    assert "'test': 5" in examine("imagenet", imagenet)[1]


def test_cub_and_visda_follow_their_lists(tmp_path):
    folder = tmp_path / "CUB_200_2011"
    folder.mkdir()
    names = ["002.B/b0.jpg", "001.A/a0.jpg", "001.A/a1.jpg", "001.A/a2.jpg", "001.A/a3.jpg", "001.A/a4.jpg", "002.B/b1.jpg"]
    write = lambda file, rows: (folder / file).write_text("".join(f"{i} {row}\n" for i, row in enumerate(rows, 1)))  # noqa: E731
    write("images.txt", names)
    write("image_class_labels.txt", [2, 1, 1, 1, 1, 1, 2])
    write("train_test_split.txt", [1, 1, 1, 1, 1, 0, 0])
    found = {part: [(p.name, c) for p, c in rows] for part, rows in listing("cub200", tmp_path).items()}
    assert found["train"] == [("a0.jpg", 0)]  # all but the last three of a class
    assert found["val"] == [("a1.jpg", 0), ("a2.jpg", 0), ("a3.jpg", 0), ("b0.jpg", 1)]
    assert found["test"] == [("a4.jpg", 0), ("b1.jpg", 1)]

    for part, n in (("train", 101), ("validation", 2)):
        (tmp_path / "visda17" / part).mkdir(parents=True)
        rows = [f"{kind}/{i:03}.png {c}" for c, kind in enumerate(("aeroplane", "bicycle")) for i in range(n)]
        (tmp_path / "visda17" / part / "image_list.txt").write_text("\n".join(reversed(rows)) + "\n")
    found = listing("visda17", tmp_path)
    assert [(p.name, c) for p, c in found["train"]] == [("000.png", 0), ("000.png", 1)]
    assert len(found["val"]) == 200
    assert [str(p.relative_to(tmp_path)) for p, _ in found["test"]][:2] == [f"visda17/validation/aeroplane/00{i}.png" for i in (0, 1)]


@pytest.mark.parametrize("name", LISTINGS)
def test_a_folder_of_another_layout_is_damaged(name, tmp_path):
    (tmp_path / {"cub200": "CUB_200_2011"}.get(name, name)).mkdir()
    assert examine(name, tmp_path)[0] == "damaged"
    with pytest.raises(ReplibError, match="not the official one"):
        load(Data(name), root=tmp_path)


def test_pictures_are_what_torchvisions_test_transform_gives(tmp_path):
    from torchvision import transforms

    random = np.random.RandomState(0)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        Image.fromarray(random.randint(0, 256, (40 + 7 * i, 60, 3), np.uint8)).save(path)
    test = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(28), transforms.ToTensor()])
    wanted = torch.stack([test(Image.open(p)) for p in paths])
    pictures = Pictures(paths, side=28, resize=32)
    assert torch.equal(to_float(pictures), wanted)
    assert torch.equal(to_float(pictures[torch.tensor([3, 0])]), wanted[[3, 0]])
    assert torch.equal(torch.cat([to_float(x) for x in pictures[1:].split(3)]), wanted[1:])
    assert (len(pictures), pictures.shape) == (5, (5, 3, 28, 28))
    paths[2].write_bytes(paths[2].read_bytes()[:50])
    with pytest.raises(ReplibError, match=r"2\.png is damaged"):
        pictures[torch.tensor([2])]


def test_a_run_reads_its_pictures_from_disk(imagenet, store):
    data = Data("imagenet", n_train=4, n_val=4)
    split = load(data, root=imagenet)
    assert split.train.x.shape == (4, 3, 18, 18)  # to be cut out of
    assert (split.val.x.shape, split.test.x.shape) == ((4, 3, 16, 16), (6, 3, 16, 16))
    assert split.test.x[torch.tensor([0, 5])][:, 0, 8, 8].tolist() == [150, 52]
    assert split.train.y.tolist() == [0, 0, 1, 1]
    assert load(Data("imagenet", augment="none"), root=imagenet).train.x.shape == (8, 3, 16, 16)
    job = Train(data, Net("cnn_small", width=2), CrossEntropy(), epochs=1, batch=3, validate=PGD(0.01, 1))
    execute(task(job, 0), store, data_root=imagenet)
    again = type(store)(store.root / "again")
    execute(task(job, 0), again, data_root=imagenet)
    ours, theirs = (s.summary(task(job, 0))["files"] for s in (store, again))
    assert ours["epoch_1.safetensors"] == theirs["epoch_1.safetensors"]


# ---- parts cut out at random ---------------------------------------------------------------------------------------------
def test_a_part_is_where_and_as_large_as_it_should_be():
    h, w, n = 40, 60, 4000
    rows, columns = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    x = torch.stack([columns, rows]).expand(n, 2, h, w)
    out = resized_crop(x, 0.08, 16, torch.Generator().manual_seed(0))
    assert out.shape == (n, 2, 16, 16)
    width = (out[:, 0, 8, -1] - out[:, 0, 8, 0]) * 16 / 15
    height = (out[:, 1, -1, 8] - out[:, 1, 0, 8]) * 16 / 15
    inside = (width < 0.9 * w) & (height < 0.9 * h) & (out[:, 0, 8, 0] > 2) & (out[:, 1, 0, 8] > 2)  # the border repeats pixels
    share = width * height / (h * w)
    assert (out >= 0.5 - 1e-4).all()
    assert out[:, 0].max() <= w - 0.5 + 1e-4
    assert 0.075 < share.min() < 0.1
    assert (width / height)[inside].min() > 0.74
    assert (width / height)[inside].max() < 1.35
    assert out[:, 0, 7:9, 7:9].mean() == pytest.approx(w / 2, abs=0.7)  # places are symmetric
    assert out[:, 1, 7:9, 7:9].mean() == pytest.approx(h / 2, abs=0.7)


def test_the_whole_picture_at_its_own_size_is_left_as_it_is():
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    full = resized_crop(x, 1.0, 8, torch.Generator().manual_seed(1))
    wide = (full - x).abs().flatten(1).amax(1)  # only ratios change, and a part of the whole area cannot be wider without being cut
    assert full.shape == x.shape
    assert (wide < 1).all()


def test_resized_pictures_of_small_sets():
    data = Data("cifar10", height=224, augment="resized")
    assert data.augmentation == Augmentation(flip=True, area=0.08, side=224)
    assert "from 8 % of the area" in data.augmentation.words()
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    out = augment(x, Augmentation(area=0.08, side=12), torch.Generator().manual_seed(0))
    assert out.shape == (4, 3, 12, 12)
    assert 0 <= out.min() <= out.max() <= 1


# ---- SVHN ------------------------------------------------------------------------------------------------------------------
def test_svhn_is_read_from_its_official_files(tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    monkeypatch.setattr(SVHN, "split_list", {part: list(entry) for part, entry in SVHN.split_list.items()})
    files = []
    for part, n in (("train", 5003), ("test", 4)):
        x = np.zeros((32, 32, 3, n), np.uint8)
        x[1, 2, 0] = np.arange(n) % 251
        path = tmp_path / f"{part}_32x32.mat"
        savemat(path, {"X": x, "y": (np.arange(n) % 10 + 1)[:, None]})
        files.append((path.name, hashlib.md5(path.read_bytes()).hexdigest()))
        SVHN.split_list[part][2] = files[-1][1]
    monkeypatch.setitem(SOURCES, "svhn", Source("us", (), tuple(files)))
    small = replace(ROLES["svhn"], n_train=3, n_test=4)
    monkeypatch.setitem(ROLES, "svhn", small)
    split = load(Data("svhn"), root=tmp_path)
    assert (len(split.train), len(split.val), len(split.test)) == (3, 5000, 4)
    assert split.train.x[:, 0, 1, 2].tolist() == [0, 1, 2]  # rows, then columns
    assert split.train.y.tolist() == [1, 2, 3]
    assert split.val.y[6].item() == 0  # the files call the digit 0 "10"
    assert split.train.x[:, 1:].max() == 0
