"""Checkpoints of other projects: every container and prefix, damage, and files that try to run something."""

from __future__ import annotations

import os
import pickle
import sys
import types
from dataclasses import replace

import pytest
import torch
from torch import nn

from replib.attacks import PGD
from replib.attacks.evaluate import evaluate
from replib.data import Data
from replib.data.load import load
from replib.data.released import FOLDER, RELEASED, Weights, locate, report
from replib.experiments.jobs import execute
from replib.methods import Magnitude, Ticket
from replib.models import Net
from replib.models.build import build
from replib.models.checkpoints import Leftover, fit, read, tensors
from replib.spec import ReplibError, SpecError, task
from replib.store.context import Context
from replib.training import CrossEntropy, FromRun, Released, Train
from replib.training.networks import initial, ticket_masks

DATA = Data("mnist14", n_train=20, n_val=10, n_test=10)
NET = Net("bottleneck_small", width=4)


def network(seed: int = 0, classes: int = 10) -> nn.Module:
    g = torch.Generator().manual_seed(seed)
    return build(NET, classes=classes, shape=(1, 14, 14), mean=(0.0,), std=(1.0,), generator=g)


OWN = network().state_dict()
GIVEN = network(1).state_dict()


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + n: t for n, t in GIVEN.items()}


ROBUSTNESS = (
    prefixed("module.model.") | prefixed("module.attacker.model.")
    | {"module.normalizer.new_mean": torch.zeros(3), "module.attacker.normalize.new_std": torch.ones(3)}
)  # fmt: skip
FILES = {
    "torchvision": GIVEN,
    "robustness": {"model": ROBUSTNESS, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, "epoch": 90},
    "older robustness": {"state_dict": ROBUSTNESS, "epoch": 90},
    "fast": {"epoch": 15, "arch": "resnet50", "state_dict": prefixed("module."), "best_prec1": torch.tensor(55.4), "optimizer": {}},
    "sequential": prefixed("1.") | {"0.mean": torch.zeros(3), "0.std": torch.ones(3)},
    "wrapped": prefixed("model.") | {"normalize.mean": torch.zeros(3)},
    "old": {n: t for n, t in GIVEN.items() if not n.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", FILES)
def test_every_container_and_prefix_gives_the_same_weights(kind, zipped, tmp_path):
    torch.save(FILES[kind], tmp_path / "f", _use_new_zipfile_serialization=zipped)
    found = fit(tensors(read(tmp_path / "f"), "f"), OWN, "f")
    assert set(found) == {n for n in OWN if kind != "old" or not n.endswith("num_batches_tracked")}
    assert all(torch.equal(t, GIVEN[n]) for n, t in found.items())


def test_a_pruned_network_is_merged():
    weight = GIVEN["layer1.0.conv2.weight"]
    mask = torch.zeros_like(weight)
    mask[0] = 1
    given = {n: t for n, t in GIVEN.items() if n != "layer1.0.conv2.weight"}
    given |= {"layer1.0.conv2.weight_orig": weight, "layer1.0.conv2.weight_mask": mask}
    found = fit(tensors(given, "f"), OWN, "f")
    assert torch.equal(found["layer1.0.conv2.weight"], weight * mask)
    assert set(found) == set(OWN)


def test_a_classifier_for_other_classes_is_left_out_only_when_asked():
    own = network(classes=3).state_dict()
    with pytest.raises(ReplibError, match=r"2 of another shape \(fc\.weight, fc\.bias\)"):
        fit(GIVEN, own, "f")
    found = fit(GIVEN, own, "f", without="fc")
    assert set(own) - set(found) == {"fc.weight", "fc.bias"}
    headless = {n: t for n, t in GIVEN.items() if not n.startswith("fc.")}
    with pytest.raises(ReplibError, match=r"2 missing \(fc\.weight, fc\.bias\)"):
        fit(headless, OWN, "f")
    assert set(fit(headless, own, "f", without="fc")) == set(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer1.0.conv1.weight": None}, r"1 missing \(layer1\.0\.conv1\.weight\)"),
        ({"layer1.0.conv1.weight": torch.zeros(1)}, r"1 of another shape \(layer1\.0\.conv1\.weight\)"),
        ({"layer9.weight": torch.zeros(1)}, r"1 unknown \(layer9\.weight\)"),
        ({"bn1.bias": torch.full((4,), float("nan"))}, r"1 not finite \(bn1\.bias\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, said):
    with pytest.raises(ReplibError, match=said):
        fit({n: t for n, t in (GIVEN | change).items() if t is not None}, OWN, "f")


def test_other_architectures_and_other_contents_are_refused():
    with pytest.raises(ReplibError, match="missing"):
        fit({"a.b": torch.zeros(1)}, OWN, "f")
    with pytest.raises(ReplibError, match="no tensors: fc"):
        tensors({"state_dict": {"fc": 3}}, "f")
    for contents in ([1, 2], {}, 3):
        with pytest.raises(ReplibError, match="instead of weights by name"):
            tensors(contents, "f")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_damaged_files_are_named(zipped, tmp_path):
    path = tmp_path / "f.pth"
    torch.save(GIVEN, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for cut in (0, 10, 600, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:cut])
        with pytest.raises(ReplibError, match=r"f\.pth cannot be read as a checkpoint.*Fetch it anew"):
            read(path)
    path.write_bytes(b"<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(ReplibError, match="cannot be read as a checkpoint"):
        read(path)
    with pytest.raises(ReplibError, match="There is no checkpoint"):
        read(tmp_path / "gone")


class Runs:
    """Unpickled as a call of `function`."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("where", ["alone", "beside", "inside", "nested"])
@pytest.mark.parametrize("what", ["system", "eval", "getattr", "storage"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_hostile_files_are_refused_by_name_and_nothing_runs(protocol, what, where, zipped, tmp_path):
    sprung = tmp_path / "sprung"
    call = {
        "system": Runs(os.system, f"touch {sprung}"),
        "eval": Runs(eval, f"open({str(sprung)!r}, 'w')"),
        "getattr": Runs(getattr, Runs(__import__, "os"), "getcwd"),
        "storage": Runs(torch.storage._load_from_bytes, b"anything"),  # reads a pickle without restrictions
    }[what]
    contents = {
        "alone": call,
        "beside": {"model": GIVEN, "optimizer": call},
        "inside": {"model": GIVEN | {"fc.weight": call}},
        "nested": {"model": GIVEN, "args": [{"a": (1, [call])}]},
    }[where]
    path = tmp_path / "f.pth"
    torch.save(contents, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    if what in ("system", "eval"):
        torch.load(path, weights_only=False)  # the trap works where it is not refused
        assert sprung.exists()
        sprung.unlink()
    named = r"refers to .*(system|eval|getattr|_load_from_bytes|__import__).*nothing of the file was run"
    if what == "storage" and protocol > 2:  # a name of PyTorch's own
        named = f"saved with pickle protocol {protocol}.*Nothing of the file was run"
    with pytest.raises(ReplibError, match=named):
        read(path)
    assert not sprung.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_protocol_that_cannot_be_read_safely_is_named(protocol, zipped, tmp_path):
    path = tmp_path / "f.pth"
    torch.save({"model": GIVEN}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    if protocol == 3:
        assert tensors(read(path), "f").keys() == GIVEN.keys()
        return
    with pytest.raises(ReplibError, match=f"saved with pickle protocol {protocol}.*torch.save wrote as it does by default"):
        read(path)


def test_programs_and_plain_pickles_are_no_checkpoints(tmp_path):
    path = tmp_path / "f.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(path))
    with pytest.raises(ReplibError, match="it is a TorchScript program") as program:
        read(path)
    path.write_bytes(pickle.dumps({"w": Runs(os.system, "true")}))
    with pytest.raises(ReplibError, match=r"refers to \w+\.system") as plain:
        read(path)
    assert "weights_only" not in f"{program.value} {plain.value}"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_leftovers_of_known_libraries_are_dropped_unread(zipped, tmp_path, monkeypatch):
    ran = []
    module = types.ModuleType("dill._dill")

    def _load_type(name):
        ran.append(name)
        return name

    class Parameters:
        def __init__(self):
            self.lr = 0.1

        def __setstate__(self, state):
            ran.append(state)

    for thing in (_load_type, Parameters):
        thing.__module__, thing.__qualname__ = "dill._dill", thing.__name__
        setattr(module, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, "dill", types.ModuleType("dill"))
    monkeypatch.setitem(sys.modules, "dill._dill", module)
    path = tmp_path / "f.ckpt"
    torch.save({"model": GIVEN, "args": [Runs(_load_type, "CodeType"), Parameters()]}, path, _use_new_zipfile_serialization=zipped)
    contents = read(path)
    assert not ran
    assert [type(a) for a in contents["args"]] == [Leftover, Leftover]
    assert set(fit(tensors(contents, path), OWN, path)) == set(OWN)
    torch.save({"model": GIVEN | {"fc.weight": Parameters()}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ReplibError, match=r"entries that are no tensors: fc\.weight"):
        tensors(read(path), path)
    assert not ran
    torch.save({"model": GIVEN, "args": Runs(os.getcwd)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ReplibError, match="getcwd"):  # placeholders of one file are not there for the next
        read(path)
    assert not [g for g in torch.serialization.get_safe_globals() if isinstance(g, tuple)]


def test_torchvision_names_are_ours():
    from torchvision.models import ResNet50_Weights, resnet50

    g = torch.Generator().manual_seed(0)
    ours = build(Net("resnet50"), classes=1000, shape=(3, 224, 224), mean=(0.0,) * 3, std=(1.0,) * 3, generator=g).state_dict()
    assert set(fit(resnet50().state_dict(), ours, "torchvision")) == set(ours)
    weights = ResNet50_Weights.IMAGENET1K_V1
    assert (RELEASED["std"].url, RELEASED["std"].accuracy) == (weights.url, weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])
    assert RELEASED["std"].megabytes == pytest.approx(weights.meta["_file_size"] * 1.048576, abs=0.1)


# ---- the table and runs that start from it ---------------------------------------------------------------------------------
@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data folder with a small network in the place of the released "at"."""
    monkeypatch.setitem(RELEASED, "at", Weights("at", "PGD adversarial training", "us", "http://here/at.ckpt", "at.ckpt", 0.1))
    (tmp_path / FOLDER).mkdir()
    torch.save({"model": ROBUSTNESS}, tmp_path / FOLDER / "at.ckpt")
    return tmp_path


def test_missing_and_damaged_weights_say_what_to_fetch(tmp_path):
    for name, entry in RELEASED.items():
        with pytest.raises(ReplibError, match="missing") as error:
            locate(name, tmp_path)
        assert entry.url in str(error.value)
        assert str(tmp_path / FOLDER / entry.file) in str(error.value)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / RELEASED["std"].file).write_bytes(b"not it")
    with pytest.raises(ReplibError, match=r"damaged.*sha256"):
        locate("std", tmp_path)
    assert {r["name"]: r["state"] for r in report((), tmp_path)} == {"std": "damaged", "at": "missing", "fat": "missing"}
    with pytest.raises(SpecError, match="Did you mean 'fat'"):
        Released("fats")


def handed_on(**changes) -> Train:
    return Train(**({"data": DATA, "net": NET, "loss": CrossEntropy(), "epochs": 0, "batch": 10, "validate": PGD(0.1, 1)} | changes))


def test_a_run_of_no_epochs_hands_the_released_weights_on(root, store):
    source = handed_on(init=Released("at"))
    execute(task(source, 0), store, data_root=root)
    for checkpoint in ("initial", "best_ra", "best_sa", "best_sum", "final"):
        assert store.results(task(source, 0))["checkpoints"][checkpoint]["epoch"] == 0
    weights = store.weights(task(source, 0), "epoch_0")
    assert all(torch.equal(t, weights[n]) for n, t in GIVEN.items())
    drawn = Ticket(DATA, NET, 0.5, Magnitude(source), "conv")
    execute(task(drawn, 0), store)
    masks = ticket_masks(store, task(drawn, 0), network())
    assert "fc.weight" not in masks
    kept = torch.cat([GIVEN[n][m].abs() for n, m in masks.items()])
    gone = torch.cat([GIVEN[n][~m].abs() for n, m in masks.items()])
    assert kept.min() >= gone.max()
    down = handed_on(
        data=Data("digit_pairs", n_train=100, n_val=100, n_test=100, height=14), epochs=1, init=FromRun(source, head=False), ticket=drawn
    )
    execute(task(down, 0), store)
    start = store.weights(task(down, 0), "epoch_0")
    assert start["fc.weight"].shape[0] == 100
    assert all(torch.equal(start[n], GIVEN[n] * masks.get(n, torch.ones(()))) for n in GIVEN if not n.startswith("fc."))


def test_released_weights_that_are_not_as_accurate_as_published_go_no_further(root, store, monkeypatch):
    source = handed_on(init=Released("at"))
    entry = RELEASED["at"]
    monkeypatch.setitem(RELEASED, "at", replace(entry, accuracy=76.13))
    with pytest.raises(ReplibError, match=r"'at' get [\d.]+ % of 10 test images of 'mnist14' right, and their publisher says 76\.13 %"):
        execute(task(source, 0), store, data_root=root)
    assert store.status(task(source, 0)) != "done"
    net = network()
    net.load_state_dict(GIVEN)
    test = load(DATA).test
    monkeypatch.setitem(RELEASED, "at", replace(entry, accuracy=evaluate(net, test.x, test.y).accuracy + 4.9))
    execute(task(source, 0), store, data_root=root)
    assert store.status(task(source, 0)) == "done"


def test_a_fresh_classifier_stands_on_released_weights(root, store):
    job = handed_on(epochs=1, init=Released("at", head=False))
    split = load(DATA)
    net = initial(Context(store, task(job, 3), data_root=root), job, job.init, split).state_dict()
    assert torch.equal(net["conv1.weight"], GIVEN["conv1.weight"])
    assert not torch.equal(net["fc.weight"], GIVEN["fc.weight"])


def test_only_released_weights_may_go_untrained():
    with pytest.raises(SpecError, match=r"Train\.epochs = 0 .*\[1, "):
        handed_on()
