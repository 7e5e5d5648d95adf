"""The same weights and the same batches in PyTorch: how far losses, gradients and trained weights are from ours.

    pip install torch && python -P benchmarks/against_torch.py

Exit code 1 when any relative difference is above 1e-5.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import MLP, FitConfig, MLPConfig
from training.fit.optim import apply_update
from training.nn.losses import LOSSES

LIMIT = 1e-5
CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "sgd": ("sgd", {}, lambda p: torch.optim.SGD(p, 0.05)),
    "momentum": ("sgd", {"momentum": 0.9}, lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)),
    "nesterov": (
        "sgd",
        {"momentum": 0.9, "nesterov": True},
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    ),
    "adam": ("adam", {}, lambda p: torch.optim.Adam(p, 0.05)),
    "adamw": ("adam", {}, lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.0)),
}


def mirrored(network: MLP) -> Any:
    """Build the same network in PyTorch, with the same weights."""
    modules: list[Any] = []
    arrays = network.state_dict()
    for name in (name for name in arrays if name.endswith("weight")):
        layer = torch.nn.Linear(*arrays[name].shape, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(arrays[name].T.copy()))
            layer.bias.copy_(torch.from_numpy(arrays[name.replace("weight", "bias")].copy()))
        modules += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def distance(mine: Any, theirs: Any) -> float:
    """Give the largest difference relative to the largest value."""
    return float(np.abs(mine - theirs).max() / max(np.abs(theirs).max(), 1e-12))


def main() -> None:
    """Train 50 steps with each optimizer on both sides and print the largest differences on the way."""
    worst = 0.0
    for case, (name, options, make) in CASES.items():
        rng = np.random.default_rng(0)
        network = MLP(MLPConfig((30, 20, 10, 5)), 0, np.float64)
        peer = mirrored(network)
        optimizer, peer_optimizer = (
            FitConfig(optimizer=name, optimizer_options=options).make_optimizer(network.parameters, network.n_weights),
            make(peer.parameters()),
        )
        losses = gradients = 0.0
        for _ in range(50):
            x, y = rng.normal(size=(16, 30)), rng.integers(0, 5, 16)
            loss, _ = network.loss_and_gradients(LOSSES["cross_entropy"], x, y)
            peer_optimizer.zero_grad()
            peer_loss = torch.nn.functional.cross_entropy(peer(torch.from_numpy(x)), torch.from_numpy(y))
            peer_loss.backward()
            losses = max(losses, abs(loss / peer_loss.item() - 1))
            size = 30 * 20
            mine = network.gradients[:size].reshape(30, 20)
            gradients = max(gradients, distance(mine, peer[0].weight.grad.numpy().T))
            apply_update(optimizer, network.parameters, network.gradients, 0.05)
            peer_optimizer.step()
        weights = distance(network.state_dict()["0.weight"], peer[0].weight.detach().numpy().T)
        worst = max(worst, losses, gradients, weights)
        print(f"{case:10} losses {losses:.1e}  gradients {gradients:.1e}  weights after 50 steps {weights:.1e}")
    print(f"largest difference {worst:.1e}: " + ("the same" if worst <= LIMIT else "NOT THE SAME"))
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
