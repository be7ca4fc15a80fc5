"""A ticket as the backbone of Mask R-CNN, and VOC's files in the official layout made tiny."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from replib.data.voc import Instances
from replib.models import Net
from replib.models.build import build, prunable
from replib.models.detection import BODY, backbone_masks, mask_rcnn
from replib.sparsity.masks import global_top, project_
from replib.spec import ReplibError


@pytest.fixture
def voc(tmp_path):
    """Two pictures with objects, of classes 15 and 3, and one that holds only background and void."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    random = np.random.RandomState(0)
    for i in range(3):
        h, w = 48 + 8 * i, 64
        objects, classes = np.zeros((2, h, w), np.uint8)
        if i < 2:
            objects[8:28, 10:40], classes[8:28, 10:40] = 1, 15
            objects[30:44, 20:60], classes[30:44, 20:60] = 2, 3
            objects[0, 0], classes[0, 0] = 3, 3  # a single pixel is no object to learn from
        objects[7, 10:40] = classes[7, 10:40] = 255
        for kind, values in (("Object", objects), ("Class", classes)):
            picture = Image.fromarray(values, "P")
            picture.putpalette(bytes(range(256)) * 3)
            picture.save(folder / f"Segmentation{kind}" / f"2007_{i}.png")
        Image.fromarray(random.randint(0, 256, (h, w, 3), np.uint8)).save(folder / "JPEGImages" / f"2007_{i}.jpg")
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_0\n2007_1\n2007_2\n")
    return tmp_path


def test_objects_are_read_with_boxes_labels_and_masks(voc):
    found = Instances(voc, "train")
    assert len(found) == 2
    picture, target = found[1]
    assert picture.shape == (3, 56, 64)
    assert 0 <= picture.min() < picture.max() <= 1
    assert target["labels"].tolist() == [15, 3]
    assert target["boxes"].tolist() == [[10, 8, 40, 28], [20, 30, 60, 44]]
    assert target["masks"].sum((1, 2)).tolist() == [600, 560]
    with pytest.raises(ReplibError, match=r"val\.txt\. Fetch http"):
        Instances(voc, "val")
    (voc / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_0.jpg").write_bytes(b"no")
    with pytest.raises(ReplibError, match=r"2007_0\.jpg is damaged"):
        found[0]


def test_a_ticket_stays_sparse_while_mask_rcnn_is_trained(voc):
    torch.manual_seed(0)  # heads are drawn by torchvision
    g = torch.Generator().manual_seed(0)
    net = build(Net("bottleneck_small", width=8), classes=10, shape=(3, 32, 32), mean=(0.5,) * 3, std=(0.2,) * 3, generator=g)
    masks = backbone_masks(global_top({n: w.detach().abs() for n, w in prunable(net, "conv").items()}, 0.3))
    few = {f"rpn_{when}_nms_top_n_{mode}": 20 for when in ("pre", "post") for mode in ("train", "test")}
    model = mask_rcnn(net, min_size=48, max_size=64, box_batch_size_per_image=8, box_detections_per_img=3, **few)
    parameters = dict(model.named_parameters())
    assert set(masks) == {n for n, p in parameters.items() if n.startswith(BODY) and p.ndim == 4}
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=1e-4)
    project_(parameters, masks, optimizer)
    before = {n: p.detach().clone() for n, p in parameters.items()}
    pictures, targets = zip(*Instances(voc, "train"), strict=True)
    for _ in range(2):
        losses = model(list(pictures), list(targets))
        assert {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"} == set(losses)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        project_(parameters, masks, optimizer)
    assert all(p.isfinite().all() for p in parameters.values())
    for name, mask in masks.items():
        assert not parameters[name][~mask].any()
    assert [n for n, m in masks.items() if m.any()] == [n for n in masks if not torch.equal(parameters[n], before[n])]
    model.eval()
    with torch.no_grad():
        (found,) = model([pictures[0]])
    assert found["masks"].shape[1:] == (1, 48, 64)
