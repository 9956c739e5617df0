"""Saved preconditioners: whole or not at all, the same afterwards, and one clear line for whatever is damaged."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from sciops.errors import InputError, ModelError
from sciops.preconditioners import LearnedMultigrid, LearnedPreconditioner, families, load, registry, train


class Polynomial(LearnedPreconditioner):
    """A polynomial in D^-1 A; what is learned are its coefficients."""

    method = "cg"

    def __init__(self, degree: int = 2, start: tuple[float, ...] = (1.0, 0.5), kind: str = "jacobi") -> None:
        super().__init__()
        self.degree, self.start, self.kind = degree, start, kind
        self.coefficients = torch.nn.Parameter(torch.tensor(start[:degree]))

    def setup(self, A):
        def apply(r):
            z, total = r, torch.zeros_like(r)
            for c in self.coefficients.detach():
                z = z / A.diagonal()[:, None]
                total = total + c.to(r) * z
                z = A.apply(z)
            return total

        return apply

    def loss(self, A, generator):
        r = torch.randn(A.batch, 1, *A.space, generator=generator)
        return sum((c - 0.3) ** 2 for c in self.coefficients) * r.square().mean()


class Around(LearnedPreconditioner):
    """A preconditioner around a network of the user."""

    method = "fcg"

    def __init__(self, network: torch.nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def setup(self, A):
        return lambda r: self.scale * self.network(r)

    def loss(self, A, generator):
        return self.network(torch.randn(1, 1, *A.space, generator=generator)).square().mean()


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Two classes that the registry knows for the time of a test."""
    monkeypatch.setattr(registry, "_entries", {**registry._entries, "polynomial": Polynomial, "around": Around})


@pytest.fixture
def model():
    return train(families.lognormal(8, 8, batch=1), Polynomial(), steps=3, progress=False)


def convolution(channels=1):
    return torch.nn.Conv2d(channels, 1, 3, padding=1)


def edit(folder, change):
    path = folder / "preconditioner.json"
    contents = json.loads(path.read_text())
    change(contents)
    path.write_text(json.dumps(contents))


def test_a_loaded_preconditioner_is_the_one_that_was_saved(model, tmp_path):
    folder = model.save(tmp_path / "deep" / "model")
    loaded = load(folder)
    assert type(loaded) is Polynomial and not loaded.training
    assert loaded.record == model.record and loaded.record.steps == 3
    assert (loaded.degree, loaded.start, loaded.kind) == (2, (1.0, 0.5), "jacobi")
    assert torch.equal(loaded.coefficients, model.coefficients)
    assert sorted(p.name for p in folder.iterdir()) == ["preconditioner.json", "weights.safetensors"]
    assert repr(loaded) == "Polynomial(degree=2, start=[1.0, 0.5], kind='jacobi', 2 weights, 3 steps)"


def test_double_precision_and_no_record_are_kept(tmp_path):
    loaded = load(Polynomial().double().save(tmp_path / "model"))
    assert loaded.coefficients.dtype == torch.float64 and loaded.record is None
    assert "untrained" in repr(loaded)


def test_a_network_is_passed_again(tmp_path):
    saved = Around(convolution(), 0.5)
    folder = saved.save(tmp_path / "model")
    loaded = load(folder, network=convolution())
    assert loaded.scale == 0.5 and torch.equal(loaded.network.weight, saved.network.weight)
    for network, said in (
        (None, r"'around' has a network of its own; .* load\(path, network=Conv2d\(...\)\)"),
        (torch.nn.Linear(1, 1), "trained with a network of the class 'Conv2d', and network is of the class 'Linear'"),
        (convolution(2), "the weights do not fit the model"),
    ):
        with pytest.raises(ModelError, match=said):
            load(folder, network=network)


def test_networks_of_another_name_come_with_a_model(tmp_path, monkeypatch):
    class Named(Around):
        def __init__(self, smoother: torch.nn.Module) -> None:
            super().__init__(smoother)
            self.smoother = smoother

    monkeypatch.setitem(registry._entries, "named", Named)
    saved = Named(convolution())
    folder = saved.save(tmp_path / "model")
    for network in (None, convolution()):
        with pytest.raises(ModelError, match=r"pass load\(path, model=Named\(...\)\), with 'smoother' given"):
            load(folder, network=network)
    assert torch.equal(load(folder, model=Named(convolution())).smoother.weight, saved.smoother.weight)
    with pytest.raises(InputError, match="network= or model=, not both"):
        load(folder, network=convolution(), model=Named(convolution()))


def test_an_argument_that_is_not_kept_is_named(tmp_path):
    class Forgetful(Around):
        def __init__(self, network: torch.nn.Module, colour: str = "red") -> None:
            super().__init__(network)

    with pytest.raises(InputError, match="Forgetful does not keep its argument 'colour' as an attribute"):
        Forgetful(convolution()).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_that_is_not_registered_is_passed(tmp_path, model, monkeypatch):
    monkeypatch.setattr(registry, "_entries", {})
    folder = model.save(tmp_path / "model")
    with pytest.raises(ModelError, match=r"not one of sciops; pass one: load\(path, model=Polynomial"):
        load(folder)
    assert torch.equal(load(folder, model=Polynomial()).coefficients, model.coefficients)
    with pytest.raises(ModelError, match="model is of the class 'Around'"):
        load(folder, model=Around(convolution()))


def test_what_is_there_is_not_lost(model, tmp_path):
    folder = model.save(tmp_path / "model")
    with pytest.raises(ModelError, match="pass overwrite=True"):
        model.save(folder)
    other = Polynomial(start=(3.0, 4.0))
    other.save(folder, overwrite=True)
    assert load(folder).coefficients.tolist() == [3.0, 4.0]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"also holds notes\.txt"):
        model.save(folder, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is no saved preconditioner"):
        model.save(tmp_path / "file", overwrite=True)


def test_a_full_disk_leaves_nothing_or_the_old_one(model, tmp_path, monkeypatch):
    folder = model.save(tmp_path / "model")

    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sciops.training.saved.save_file", full)
    with pytest.raises(ModelError, match="No space left"):
        Polynomial(start=(3.0, 4.0)).save(folder, overwrite=True)
    with pytest.raises(ModelError, match="nothing was left there"):
        model.save(tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert torch.equal(load(folder).coefficients, model.coefficients)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "preconditioner.json").write_text("{"), "damaged"),
        (lambda f: (f / "preconditioner.json").write_text("[" * 100_000), "damaged"),
        (lambda f: (f / "preconditioner.json").write_text("[]"), "format 'list'"),
        (lambda f: edit(f, lambda c: c.update(format=7)), "format 7, and this version of sciops reads format 1"),
        (lambda f: edit(f, lambda c: c.pop("options")), "the entry 'options' is missing"),
        (lambda f: edit(f, lambda c: c.update(name="polynomail")), "did you mean 'polynomial'"),
        (lambda f: edit(f, lambda c: c.update(name=["polynomial"])), "damaged"),
        (lambda f: edit(f, lambda c: c["options"].update(colour=1)), "damaged .*colour"),
        (lambda f: edit(f, lambda c: c.update(options=[1])), "damaged"),
        (lambda f: edit(f, lambda c: c.update(modules={"shape": "x"})), r"pass load\(path, model=Polynomial\(...\)\)"),
        (lambda f: edit(f, lambda c: c["record"].pop("steps")), "damaged"),
        (lambda f: edit(f, lambda c: c["record"].update(losses=["x"])), "damaged"),
        (lambda f: edit(f, lambda c: c["options"].update(start=[1.0])), "the weights do not fit"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"\x80\x02}q\x00."), "pickles are never read"),
        (lambda f: (f / "weights.safetensors").unlink(), "missing or damaged"),
        (lambda f: save_file({"coefficients": torch.tensor([torch.nan])}, f / "weights.safetensors"), "holds NaN"),
        (
            lambda f: save_file({"coefficients": torch.full((4,), torch.inf)}, f / "weights.safetensors"),
            "holds infinity",
        ),
        (
            lambda f: save_file({"coefficients": torch.ones(4).cfloat()}, f / "weights.safetensors"),
            "is torch.complex64",
        ),
        (
            lambda f: save_file(
                {**load_file(f / "weights.safetensors"), "x": torch.ones(1)}, f / "weights.safetensors"
            ),
            "do not fit",
        ),
    ],
)
def test_whatever_is_damaged_is_told_in_one_line(damage, said, model, tmp_path):
    folder = model.save(tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_what_is_no_folder_of_a_preconditioner_is_told(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"\x80\x02}q\x00.")
    for path, said in (
        (tmp_path / "model.pt", r"a file, and a preconditioner is a folder with preconditioner\.json"),
        (tmp_path, r"no preconditioner\.json in this folder \(it holds model\.pt\)"),
        (tmp_path / "nothing", "no such folder"),
    ):
        with pytest.raises(ModelError, match=said):
            load(path)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    folder = LearnedMultigrid(1).save(tmp_path / "model")
    (folder / "weights.safetensors").unlink()
    os.mkfifo(folder / "weights.safetensors")
    with pytest.raises(ModelError, match="no regular file"):
        load(folder)
