import pytest

from sciops.errors import InputError
from sciops.solvers.pde import Simulator, simulate, simulators


def test_registry_names_every_simulator():
    assert set(simulators) == {"darcy", "burgers"}
    assert all(issubclass(simulator, Simulator) for _, simulator in simulators.items())


def test_unknown_name_is_refused_with_a_hint_and_leaves_no_file(tmp_path):
    with pytest.raises(InputError, match="did you mean 'burgers'"):
        simulate("burger", tmp_path / "b.h5", samples=1, resolution=16)
    assert not list(tmp_path.iterdir())


def test_existing_file_is_kept_unless_asked(tmp_path):
    path = simulate("darcy", tmp_path / "d.h5", samples=1, resolution=5)
    before = path.read_bytes()
    with pytest.raises(Exception, match=r"d\.h5"):
        simulate("darcy", path, samples=2, resolution=5)
    assert path.read_bytes() == before
    simulate("darcy", path, samples=2, resolution=5, overwrite=True)
    assert path.read_bytes() != before
