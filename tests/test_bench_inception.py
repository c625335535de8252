"""Inception: loading, FID with random weights, and refusal of unknown files."""

from __future__ import annotations

import urllib.error

import pytest
import safetensors.torch
import torch
from toys import ToySystem, toy_features, world

from bench.extractors import inception
from bench.metrics import METRICS, NotMeasured
from bench.stats import frechet_distance

pytestmark = pytest.mark.filterwarnings("ignore")  # torch-fidelity's own


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random tensors with the keys and shapes of inception-v3-compat."""
    inception.torch_fidelity()
    from torch_fidelity import feature_extractor_inceptionv3 as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *a, **k: None)
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *a: None)
        network = module.FeatureExtractorInceptionV3("any", ["2048"])
    # He-normal, so that the signal neither dies nor explodes on its way through the depth.
    generator = torch.Generator().manual_seed(0)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    for name, tensor in state.items():
        if tensor.dim() == 4:
            spread = (2 / tensor[0].numel()) ** 0.5
            state[name] = spread * torch.randn(tensor.shape, generator=generator)
    path = tmp_path_factory.mktemp("inception") / "random.safetensors"
    safetensors.torch.save_file(state, path)
    return path


def test_fid_with_random_weights(weights, tmp_path):
    faces = world(4, 0)
    features = toy_features(ToySystem(faces), faces, tmp_path)
    features.extractors.networks["inception"] = network = inception.find(str(weights))
    score = METRICS["fid"]().compute(features)
    source = network(faces.faces()).features
    assert source.shape == (4, 2048)
    edited = features["prior_fid:inception"]
    assert score.value == pytest.approx(frechet_distance(source.numpy(), edited), rel=1e-4)
    assert score.n == 4
    assert network.sha256[:12] in score.note  # results name the weights that were used


def test_fid_agrees_with_torch_fidelity(weights):
    network = inception.find(str(weights))
    one, two = world(6, 0).faces(), world(6, 1).faces()
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    # Every eighth feature: torch-fidelity's own eigenvalues of 2048 x 2048 take half a minute.
    seen = [network(part).features[:, ::8].double() for part in (one, two)]
    theirs = fid_statistics_to_metric(*map(fid_features_to_statistics, seen), verbose=False)
    mine = frechet_distance(*(part.numpy() for part in seen))
    assert mine == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


def test_wrong_tensors_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=path.name):
        inception.find(str(path))


def test_unknown_pth_is_not_unpickled(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(ValueError, match=path.name):
        inception.find(str(path))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing"):
        inception.find(str(tmp_path / "nothing.pth"))


def test_fid_is_not_measured_offline(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(NotMeasured, match="--inception"):
        inception.find(None)


def test_torchvision_import_is_retried(monkeypatch):
    """PyTorch for CPU, torchvision for CUDA: the missing operator is declared before the retry."""
    asked = []
    real = inception.importlib.import_module

    def broken_once(name):
        asked.append(name)
        if name == "torchvision" and asked.count(name) == 1:
            raise RuntimeError("operator torchvision::toy_missing_op does not exist")
        return None if name == "torchvision" else real(name)

    monkeypatch.setattr(inception.importlib, "import_module", broken_once)
    before = {name: module for name, module in inception.sys.modules.items()}
    try:
        assert inception.torch_fidelity().__name__ == "torch_fidelity"
        assert asked.count("torchvision") == 2
        assert hasattr(torch.ops.torchvision, "toy_missing_op")
    finally:
        inception.sys.modules.update(before)
