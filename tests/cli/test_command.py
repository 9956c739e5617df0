from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import yaml

from sciops.cli.command import Command, normalise, parse
from sciops.cli.options import Option
from sciops.errors import InputError

OPTIONS = [
    Option("data", Path, positional=True, metavar="FILE"),
    Option("inputs", list[str]),
    Option("modes", int | list[int] | None, None),
    Option("dims", dict[str, list[str | None]] | None, None),
    Option("coords", dict[str, str] | None, None),
    Option("batch_size", int, 16),
    Option("rate", float, 1e-3),
    Option("model", Literal["fno", "unet"], "fno"),
    Option("progress", bool, True),
    Option("overwrite", bool, False),
]
COMMAND = Command("try", "Try.", "sciops try x.h5", OPTIONS, run=lambda call: None)
BASE = ["x.h5", "--inputs", "a"]


def values(*words: str) -> dict:
    return parse(COMMAND, words).values


@pytest.mark.parametrize(
    ("words", "inputs"),
    [
        (["--inputs", "a"], ["a"]),
        (["--inputs=a,b"], ["a", "b"]),
        (["--inputs", "a, b", "--inputs", "c"], ["a", "b", "c"]),
        (["--inputs", '["a,b"]'], ["a,b"]),
        (["--inputs", "null_field"], ["null_field"]),
        (["--inputs", "1"], ["1"]),
    ],
)
def test_lists_by_comma_and_by_repetition(words, inputs):
    assert values("x.h5", *words)["inputs"] == inputs


@pytest.mark.parametrize(("text", "modes"), [("8", 8), ("8,6", [8, 6]), ("[8, 6]", [8, 6]), ("null", None)])
def test_a_number_or_several(text, modes):
    assert values(*BASE, "--modes", text)["modes"] == modes


def test_entries():
    found = values(*BASE, "--dims", "f/u=sample,-,x", "--dims", "a=x", "--coords=x=grid/x")
    assert found["dims"] == {"f/u": ["sample", None, "x"], "a": ["x"]}
    assert found["coords"] == {"x": "grid/x"}


def test_switches_underscores_and_defaults():
    found = values(*BASE, "--no-progress", "--overwrite", "--batch_size", "4", "--rate=1e-5")
    assert (found["progress"], found["overwrite"], found["batch_size"], found["rate"]) == (False, True, 4, 1e-5)
    assert values(*BASE)["rate"] == 1e-3


def test_flags_win_over_files_wherever_they_stand(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("data: y.h5\ninputs: [b, c]\nbatch_size: 2\nprogress: false\nmodes: [3, 4]\n")
    assert values("--config", str(config))["data"] == Path("y.h5")
    found = values("--batch-size", "8", "z.h5", "--inputs", "a", "--config", str(config))
    assert found["batch_size"] == 8 and found["inputs"] == ["a"] and found["data"] == Path("z.h5")
    assert found["progress"] is False and found["modes"] == [3, 4]


def test_the_configuration_gives_the_same_values_again(tmp_path):
    call = parse(COMMAND, [*BASE, "--modes", "8,6", "--dims", "u=sample,-", "--rate", "1e-5", "--no-progress"])
    config = tmp_path / "run.yaml"
    config.write_text(call.yaml())
    assert parse(COMMAND, ["--config", str(config)]).values == call.values
    assert list(yaml.safe_load(config.read_text())) == [option.name for option in OPTIONS]
    assert "rate" not in yaml.safe_load(call.yaml(rate=None))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--inputs", "a"], r"try: no FILE; usage: sciops try FILE --inputs NAME,... \[options\]"),
        (["x.h5"], "try: --inputs needed; usage: sciops try FILE"),
        ([*BASE, "y.h5"], "one argument too many, 'y.h5'"),
        ([*BASE, "--batchsize", "3"], "unknown option --batchsize; did you mean '--batch-size'"),
        ([*BASE, "--batch", "3"], "unknown option --batch"),
        ([*BASE, "--batch-size", "x"], "--batch-size: expected a whole number, got x"),
        ([*BASE, "--modes", "8,x"], "--modes: expected a whole number or a list of whole numbers or null, got "),
        ([*BASE, "--model", "fnoo"], "--model: expected one of fno, unet, got fnoo"),
        ([*BASE, "--dims", "u"], "--dims: expected NAME=A,B,..., got 'u'"),
        ([*BASE, "--dims"], "--dims: a value is missing"),
        (["x.h5", "--inputs", "--modes", "3"], "--inputs: a value is missing"),
        ([*BASE, "--config", "no.yaml"], "--config: File does not exist: .*no.yaml"),
    ],
)
def test_usage_errors_are_one_line_in_the_words_of_the_user(words, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(COMMAND, words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_sizes: 3\n", "unknown key 'batch_sizes'; did you mean 'batch_size'"),
        ("batch_size: many\n", "--batch-size: expected a whole number, got many"),
        ("data: [x\n", "try: "),
        ("!!python/object/apply:os.system ['touch pwned']\n", "try: "),
    ],
)
def test_bad_configuration_files(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        parse(COMMAND, [*BASE, "--config", "run.yaml"])
    assert not Path("pwned").exists()


def test_words_after_two_dashes_are_places():
    assert normalise(["--", "--inputs"], OPTIONS) == ["--", "--inputs"]


@pytest.mark.parametrize("split", range(4))
def test_places_and_flags_in_any_order(split):
    options = [Option("one", Path, positional=True), Option("two", Path, positional=True), *OPTIONS[1:]]
    flags = ["--inputs a", "--overwrite", "--rate -1"]
    words = " ".join([*flags[:split], "x.h5", *flags[split:], "y.h5"]).split()
    found = parse(Command("try", "", "", options, run=lambda call: None), words).values
    assert (found["one"], found["two"], found["overwrite"], found["rate"]) == (Path("x.h5"), Path("y.h5"), True, -1.0)


def test_help_shows_defaults_and_one_form_of_each_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(COMMAND, ["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert text.startswith("usage: sciops try FILE --inputs NAME,... [options]\n")
    assert "--batch-size N" in text and "(default: 16)" in text and "--no-progress" in text
    assert "--inputs+" not in text and "--no-overwrite" not in text and "sciops try x.h5" in text


def test_print_config(capsys):
    with pytest.raises(SystemExit):
        parse(COMMAND, [*BASE, "--batch-size", "3", "--print-config"])
    assert yaml.safe_load(capsys.readouterr().out)["batch_size"] == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--normalise", "log"], "log"),
        (["--normalise", "u=none,a=range"], {"u": "none", "a": "range"}),
        (["--normalise", "u=none", "--normalise", "a=range"], {"u": "none", "a": "range"}),
        (["--coords", "x=a,b", "--coords", "y=c"], {"x": "a,b", "y": "c"}),
    ],
)
def test_one_value_for_all_or_entries_between_commas(words, expected):
    options = [Option("normalise", str | dict[str, str], "standard"), Option("coords", dict[str, str] | None, None)]
    values = parse(Command("try", "", "", options, run=lambda call: None), words).values
    assert expected in values.values()


def test_joined_entries_are_json():
    (word,) = normalise(["--coords", "x=a", "--coords", "y=b"], OPTIONS)
    assert json.loads(word.partition("=")[2]) == {"x": "a", "y": "b"}
