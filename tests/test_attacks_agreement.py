"""Agreement with other people's code: foolbox image by image, and a published net on real pictures."""

from pathlib import Path

import pytest
import torch
from torch import nn

from replib.attacks import CW, PGD, AutoAttack
from replib.attacks.evaluate import evaluate
from replib.attacks.pgd import perturb
from replib.data import Data
from replib.data.load import load
from replib.spec import ReplibError

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)).eval()


@pytest.fixture(scope="module")
def batch(net):
    x = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return x, net(x).argmax(dim=1)


@pytest.mark.parametrize("steps", [1, 10, 20])
def test_pgd_linf_equals_foolbox(net, batch, steps):
    foolbox = pytest.importorskip("foolbox")
    x, y = batch
    theirs = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=steps, random_start=False)
    expected, _, _ = theirs(foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, y, epsilons=0.1)
    ours = perturb(net, x, y, PGD(0.1, steps=steps, step=0.25, start="zero"))
    assert (ours - x).abs().max() > 0.02
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


def test_pgd_l2_equals_foolbox_away_from_the_box(net, batch):
    foolbox = pytest.importorskip("foolbox")
    x, y = batch[0] * 0.4 + 0.3, batch[1]
    theirs = foolbox.attacks.L2PGD(rel_stepsize=0.25, steps=10, random_start=False)
    expected, _, _ = theirs(foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, y, epsilons=0.3)
    ours = perturb(net, x, y, PGD(0.3, norm="l2", start="zero"))
    assert (ours - x).flatten(1).norm(dim=1).max() > 0.29
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("c", "search_steps"), [(0.1, 1), (5.0, 1), (1.0, 4)])
def test_cw_equals_foolbox(net, batch, c, search_steps):
    foolbox = pytest.importorskip("foolbox")
    x, y = batch
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=search_steps, steps=100, stepsize=0.01, initial_const=c, confidence=0, abort_early=False
    )
    expected, _, _ = theirs(foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
    ours = perturb(net, x, y, CW(search_steps=search_steps, c=c, iterations=100, lr=0.01))
    broken = (expected != 0).flatten(1).any(dim=1)  # foolbox gives failures back as black images
    expected[~broken] = x[~broken]
    distances = [(images - x).flatten(1).norm(dim=1) for images in (ours, expected)]
    assert torch.equal(distances[0] > 0, broken)
    torch.testing.assert_close(*distances, atol=2e-3, rtol=2e-2)


@pytest.mark.slow
@pytest.mark.data
def test_published_net_on_real_pictures():
    """The CIFAR-10 ResNet-18 that ships with AutoAttack: our PGD-20, on cross-entropy and on the margin (CW in the ball), beside the
    package's attacks, alone and together. AutoAttack keeps an image's worst, so it lies below each of them.

    The network was trained without attacks: at the usual radius of 8/255 nothing is left. The radius here leaves about 40 % of the images.
    """
    package = pytest.importorskip("pyautoattack")
    from pyautoattack.examples.resnet import ResNet18

    try:
        test = load(Data("cifar10")).test
    except ReplibError as absent:
        pytest.skip(str(absent))
    x, y = test.x[:50], test.y[:50]
    net = ResNet18()
    folder = Path(package.__file__).parent / "examples"
    net.load_state_dict(torch.load(folder / "model_test.pt", weights_only=True, map_location="cpu"))
    eps = 1 / 255
    attacks = {
        "none": None,
        "PGD-20": PGD(eps, steps=20),
        "CW in the ball": PGD(eps, steps=20, loss="margin"),
        "APGD-CE": AutoAttack(eps, suite="custom", members=("apgd-ce",)),
        "AutoAttack": AutoAttack(eps, suite="custom", members=("apgd-ce", "apgd-dlr")),
    }
    found = {name: evaluate(net, x, y, attack, batch=50).accuracy for name, attack in attacks.items()}
    print(found)
    assert found["none"] > 90
    assert found["AutoAttack"] <= found["APGD-CE"] <= found["PGD-20"] <= found["APGD-CE"] + 6
    assert found["AutoAttack"] <= found["CW in the ball"] <= found["APGD-CE"] + 6
    assert 20 < found["AutoAttack"] < 60
