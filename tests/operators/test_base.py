"""Input checks and configurations."""

from __future__ import annotations

import json

import pytest
import torch

from sciops.data.domains.domain import Grid
from sciops.errors import InputError
from sciops.operators import FNO, ConvNeXtUNet, NeuralOperator, registry


def test_registered_names():
    assert dict(registry.items()) == {"fno": FNO, "unet": ConvNeXtUNet}
    with pytest.raises(InputError, match="did you mean 'fno'"):
        registry["fn0"]


@pytest.mark.parametrize(
    ("shape", "parameters", "message"),
    [
        ((2, 1, 8), (2, 2), r"takes x of shape \(batch, 1, 2 space axes\), got \(2, 1, 8\)"),
        ((2, 3, 8, 8), (2, 2), "got .2, 3, 8, 8."),
        ((2, 1, 8, 8), None, "made with 2 scalar parameters"),
        ((2, 1, 8, 8), (2, 3), r"takes parameters of shape \(batch, 2\), got \(2, 3\)"),
        ((2, 1, 8, 8), (2,), r"got \(2,\)"),
        ((2, 1, 8, 8), (3, 2), "x has 2 samples, parameters has 3"),
    ],
)
def test_input_that_does_not_fit_is_refused(shape, parameters, message):
    fno = FNO(1, 1, modes=(2, 2), width=4, layers=1, parameters=2)
    with pytest.raises(InputError, match=message):
        fno(torch.zeros(shape), None if parameters is None else torch.zeros(parameters))


def test_parameters_for_an_operator_without_are_refused():
    with pytest.raises(InputError, match=r"takes parameters of shape \(batch, 0\)"):
        FNO(1, 1, modes=(2,), width=4, layers=1)(torch.zeros(1, 1, 8), torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FNO(0, 1, modes=(2,)), "in_channels is 0"),
        (lambda: FNO(1, 1, modes=(2,), layers=0), "layers is 0"),
        (lambda: FNO(1, 1, modes=4), "does not tell the number of axes"),
        (lambda: FNO(1, 1, modes=(4, 4), grid=Grid.unit(8)), "modes=.4, 4. for a grid with the 1 axes x"),
        (lambda: FNO(1, 1, modes=(-1,)), "modes is -1"),
        (lambda: FNO(1, 1, modes=(2,), parameters=-1), "parameters is -1"),
        (lambda: FNO(1, 1, modes=(2,), norm="batch"), "unknown norm 'batch'"),
        (lambda: ConvNeXtUNet(1, 1, grid=Grid.unit(8), levels=0), "levels is 0"),
        (lambda: ConvNeXtUNet(1, 1, grid=Grid.unit(2, 2, 2, 2, names="abcd")), "works on 1 to 3 axes"),
    ],
)
def test_impossible_constructions_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_configuration_names_what_it_does_not_know():
    configuration = FNO(1, 1, modes=(2,)).configuration()
    assert json.loads(json.dumps(configuration)) == configuration
    with pytest.raises(InputError, match="takes no argument 'widht'; did you mean 'width'"):
        FNO.from_configuration({**configuration, "widht": 3})
    with pytest.raises(InputError, match="lacks 'modes'"):
        FNO.from_configuration({"in_channels": 1, "out_channels": 1})


def test_an_operator_without_its_map_cannot_be_made():
    class Incomplete(NeuralOperator):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Incomplete()
