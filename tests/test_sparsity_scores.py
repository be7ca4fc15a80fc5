"""Scores against closed forms: quadratics for SNIP and GraSP, conservation of flow for SynFlow."""

import copy

import pytest
import torch
from torch import nn

from replib.sparsity import scores
from replib.sparsity.masks import global_top

torch.set_num_threads(1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Softplus(nn.Module):
    """Two logits (theta . x, 0): L = log(1 + exp(-theta . x)) for class 0, whose gradient and Hessian are known."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, x):
        z = x @ self.theta
        return torch.stack([z, torch.zeros_like(z)], dim=1)


def convnet(depth=2, bias=False, norm=True):
    """A sequential ReLU net with pooling; running means are 0 and BatchNorm's offsets are 0, as conservation asks."""
    torch.manual_seed(0)
    layers, width = [], 3
    for i in range(depth):
        layers += [nn.Conv2d(width, 8, 3, padding=1, bias=bias)]
        if norm:
            layers += [nn.BatchNorm2d(8)]
        layers += [nn.ReLU(), nn.MaxPool2d(2) if i == 0 else nn.Identity()]
        width = 8
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5, bias=bias))
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_var.uniform_(0.5, 2, generator=seeded(1))
            m.weight.data.uniform_(0.5, 2, generator=seeded(2))
    return net


def weights(net):
    return {name: p for name, p in net.named_parameters() if p.dim() > 1}


BATCH = torch.rand(12, 3, 8, 8, generator=seeded(3)), torch.randint(0, 5, (12,), generator=seeded(4))


def test_magnitude_is_the_absolute_value():
    w = torch.tensor([[-2.0, 0.5], [0.0, 1.0]])
    assert scores.magnitude({"w": w})["w"].tolist() == [[2.0, 0.5], [0.0, 1.0]]


def test_snip_and_grasp_on_a_logistic_loss_have_closed_forms():
    theta = torch.randn(6, dtype=torch.float64, generator=seeded())
    x = torch.randn(40, 6, dtype=torch.float64, generator=seeded(1))
    y = torch.zeros(40, dtype=torch.int64)
    net = Softplus(theta.clone())
    s = torch.sigmoid(-x @ theta)
    gradient = -(s.unsqueeze(1) * x).mean(dim=0)
    hessian = (x.T * (s * (1 - s))) @ x / len(x)
    params = {"theta": net.theta}
    torch.testing.assert_close(scores.snip(net, params, x, y)["theta"], (theta * gradient).abs())
    torch.testing.assert_close(scores.grasp(net, params, x, y, temperature=1.0)["theta"], theta * (hessian @ gradient))


@pytest.mark.parametrize("kind", ["snip", "grasp"])
def test_scores_on_quadratics(kind, monkeypatch):
    # L = theta' H theta / 2 as the loss: g = H theta. SNIP: |theta (H theta)|; GraSP, diagonal H: h^2 theta^2.
    theta = torch.randn(5, dtype=torch.float64, generator=seeded())
    root = torch.randn(5, 5, dtype=torch.float64, generator=seeded(1))
    h = root @ root.T if kind == "snip" else torch.diag(torch.randn(5, dtype=torch.float64, generator=seeded(2)))

    class Quadratic(nn.Module):
        def __init__(self):
            super().__init__()
            self.theta = nn.Parameter(theta.clone())

        def forward(self, x):
            return 0.5 * self.theta @ h @ self.theta

    monkeypatch.setattr(scores.F, "cross_entropy", lambda z, y: z)
    net = Quadratic()
    if kind == "snip":
        result, expected = scores.snip(net, {"theta": net.theta}, None, None), (theta * (h @ theta)).abs()
    else:
        result = scores.grasp(net, {"theta": net.theta}, None, None, temperature=1.0)
        expected = (h.diagonal() * theta).square()
        kept = global_top(result, 0.4)["theta"]
        assert (h.diagonal() * theta).abs()[kept].min() >= (h.diagonal() * theta).abs()[~kept].max()
    torch.testing.assert_close(result["theta"], expected)


def test_grasp_keeps_what_raises_the_gradient_norm_least_when_removed():
    # |g|^2 after shrinking weight j by a share t changes by -2 t score_j to first order.
    net, (x, y) = convnet(norm=False).double(), BATCH
    x = x.double()
    params = weights(net)
    result = scores.grasp(net, params, x, y, temperature=1.0)

    def squared_norm():
        loss = nn.functional.cross_entropy(net(x), y)
        return sum(g.square().sum() for g in torch.autograd.grad(loss, list(params.values()))).item()

    name, t = "0.weight", 1e-4
    j = result[name].abs().argmax()
    before, flat = squared_norm(), params[name].data.view(-1)
    flat[j] *= 1 - t
    assert squared_norm() - before == pytest.approx(-2 * t * result[name].view(-1)[j].item(), rel=0.02)


@pytest.mark.parametrize("score", [scores.snip, scores.grasp])
@pytest.mark.parametrize("training", [True, False])
def test_scoring_uses_batch_statistics_and_changes_nothing(score, training):
    net = convnet().train(training)
    net.insert(2, nn.Dropout(0.5).train(training))  # off while scoring: two calls agree
    before = copy.deepcopy(net)
    params = weights(net)
    first, second = score(net, params, *BATCH), score(net, params, *BATCH)
    for name, b in before.state_dict().items():
        assert torch.equal(b, net.state_dict()[name])
    assert [m.training for m in net.modules()] == [m.training for m in before.modules()]
    assert all(m.track_running_stats for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(p.grad is None for p in net.parameters())
    for name in params:
        assert first[name].shape == params[name].shape
        assert torch.equal(first[name], second[name])
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.fill_(5.0)
    third = score(net, params, *BATCH)
    assert all(torch.equal(third[name], first[name]) for name in params)


def test_synflow_conserves_the_flow_layer_by_layer():
    net = convnet(depth=3)
    names = [name for name, _ in net.named_parameters() if name.rpartition(".")[2] == "weight"]  # BatchNorm's gains too
    result = scores.synflow(net, names, (3, 8, 8))
    positive = copy.deepcopy(net).double().eval()
    for p in positive.parameters():
        p.data.abs_()
    flow = positive(torch.ones(1, 3, 8, 8, dtype=torch.float64)).sum().item()
    assert len(names) == 7
    for name in names:
        assert result[name].dtype == torch.float64
        assert (result[name] >= 0).all()
        assert result[name].sum().item() == pytest.approx(flow, rel=1e-12)


def test_synflow_conserves_the_flow_neuron_by_neuron():
    net = convnet(depth=2, norm=False)
    result = scores.synflow(net, ["0.weight", "3.weight"], (3, 8, 8))
    torch.testing.assert_close(result["0.weight"].sum(dim=(1, 2, 3)), result["3.weight"].sum(dim=(0, 2, 3)))


def test_synflow_of_two_linear_layers():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    result = scores.synflow(net, ["1.weight", "3.weight"], (1, 2, 2))
    w1, w2 = net[1].weight.detach().double().abs(), net[3].weight.detach().double().abs()
    torch.testing.assert_close(result["1.weight"], w2.sum(dim=0).unsqueeze(1) * w1)
    torch.testing.assert_close(result["3.weight"], w2 * w1.sum(dim=1))


def test_synflow_ignores_biases_signs_and_the_mode_and_leaves_the_net_alone():
    net = convnet(bias=True).train()
    names = list(weights(net))
    before = copy.deepcopy(net.state_dict())
    result = scores.synflow(net, names, (3, 8, 8))
    assert net.training
    assert net[0].weight.dtype == torch.float32
    assert all(torch.equal(b, net.state_dict()[name]) for name, b in before.items())
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.mul_(-1) if p.dim() > 1 else p.add_(7 if name.endswith("bias") else 0)
    again = scores.synflow(net.eval(), names, (3, 8, 8))
    assert all(torch.equal(result[name], again[name]) for name in names)


@pytest.mark.parametrize("density", [1.0, 0.37, 0.05])
@pytest.mark.parametrize("schedule", ["exponential", "linear"])
def test_synflow_masks_keep_the_exact_count(density, schedule):
    net = convnet()
    names = list(weights(net))
    masks = scores.synflow_masks(net, names, (3, 8, 8), density, iterations=10, schedule=schedule)
    total = sum(p.numel() for p in weights(net).values())
    assert sum(int(m.sum()) for m in masks.values()) == round(density * total)
    assert {name: m.shape for name, m in masks.items()} == {name: p.shape for name, p in weights(net).items()}


def test_synflow_with_one_iteration_is_the_top_of_one_round():
    net = convnet()
    names = list(weights(net))
    once = scores.synflow_masks(net, names, (3, 8, 8), 0.2, iterations=1)
    expected = global_top(scores.synflow(net, names, (3, 8, 8)), 0.2)
    assert all(torch.equal(once[name], expected[name]) for name in names)


def pyramid():
    """Layers of very unequal size: one-shot pruning empties the largest first."""
    torch.manual_seed(0)
    widths = [(3, 8), (8, 64), (64, 64), (64, 64), (64, 8)]
    layers = [m for i, o in widths for m in (nn.Conv2d(i, o, 3, padding=1, bias=False), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5, bias=False))


def test_iterations_save_the_layers_that_one_shot_empties():
    net = pyramid()
    names = list(weights(net))
    one, many = (scores.synflow_masks(net, names, (3, 4, 4), 0.004, iterations=n) for n in (1, 100))
    assert min(int(m.sum()) for m in one.values()) == 0
    assert min(int(m.sum()) for m in many.values()) > 0


def test_masks_stay_nested_when_a_layer_collapses():
    # Equal weights: round 1 keeps weights of the second, smaller layer only. Every score of round 2 is then zero, and
    # what is left must come out of what was kept before, not from the first positions.
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 50, bias=False), nn.Linear(50, 2, bias=False))
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
    names = ["1.weight", "2.weight"]
    masks = scores.synflow_masks(net, names, (1, 2, 2), 0.01, iterations=2)
    assert [int(masks[name].sum()) for name in names] == [0, 3]
