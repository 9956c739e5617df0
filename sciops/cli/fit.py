"""``sciops fit``: train a surrogate on a file."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from sciops.cli.command import Command, Invocation
from sciops.cli.options import Option, options_of
from sciops.cli.shared import declaration_options, is_declared, open_declared, say
from sciops.errors import DataError, InputError, SkillWarning
from sciops.operators import registry
from sciops.surrogate import fit
from sciops.training.ranks import is_first_process

_DESCRIPTION = """\
Train a surrogate: the map from input variables of a file to output variables, or with --task evolve
the evolution of variables in time. Prints its skill beside simple baselines, and keeps checkpoints,
logs, the configuration and the finished surrogate in a folder. A run that was interrupted or killed
goes on with --resume and ends with the same bits."""
_EXAMPLES = """
sciops fit darcy.h5 --inputs a --outputs u
sciops fit darcy.h5 --inputs a --outputs u --symmetries transpose,flip-x,flip-y --epochs 200 --output run
sciops fit burgers.h5 --task evolve --inputs u --outputs u --parameters nu --steps 4
sciops fit --resume run
sciops fit --config run/config.yaml --seed 1 --output other
sciops fit darcy.h5 --inputs a --outputs u --devices 2 --strategy ddp
"""
_CONFIG = "config.yaml"
_GROUPS = {
    "what to learn": ("inputs", "outputs", "parameters", "task", "history", "steps", "stride", "symmetries"),
    "model": ("model", "modes", "width", "layers", "residual"),
    "training": (
        "epochs", "batch_size", "accumulate", "learning_rate", "weight_decay", "loss", "normalise", "average",
        "patience",
        "pushforward", "noise", "validation", "calibration", "seed",
    ),
    "run": (
        "output", "resume", "checkpoint_seconds", "checkpoint_steps", "workers", "device", "precision", "devices",
        "strategy", "progress",
    ),
}  # fmt: skip
_HELP = {
    "inputs": "Variables to learn from; repeat the flag or separate names by commas.",
    "outputs": "Variables to predict; with --task evolve they must be among the inputs.",
    "task": "map: inputs to outputs. evolve: the last frames to the next ones, stepped in time.",
    "model": "Which operator.",
    "modes": "Highest frequency kept, for all axes or one per axis (8,6). Default: what suits the grid.",
    "width": "Channels inside the model. Default: what suits the model.",
    "layers": "Layers of the model. Default: what suits the model.",
    "history": "Evolution: frames that the model sees.",
    "steps": "Evolution: frames that a training item predicts one after another.",
    "stride": "Evolution: frames of the file between two that the model sees.",
    "residual": "Evolution: the model gives the next frame, not its change.",
    "pushforward": "Evolution: train on the model's own output, last step only.",
    "noise": "Evolution: relative size of white noise on the inputs.",
    "symmetries": "Symmetries of the problem, such as transpose,flip-x: training samples are moved by a random one, "
    "and predictions are averaged over all.",
    "epochs": "Passes over the training samples.",
    "batch_size": "Samples in one batch, over all processes.",
    "accumulate": "Batches whose gradients are added up before a step.",
    "learning_rate": "Largest learning rate of the one-cycle schedule.",
    "weight_decay": "Of AdamW.",
    "loss": "l2 or h1: relative error of the field, or of the field and its gradient.",
    "normalise": "What the model sees: standard (mean 0, deviation 1), range ([-1, 1]), log (standard, of the "
    "logarithm) or none; for all variables, or by variable such as a=log,u=none.",
    "average": "Decay of the averaged weights.",
    "patience": "Stop after so many validations without a smaller error.",
    "validation": "Part of the samples to validate on.",
    "calibration": "Part of the samples that calibrates the error band; 0 for no band.",
    "output": "New folder for the run. Default: the name of the file and the model, such as darcy-fno.",
    "resume": "Go on with the run in this folder, by the configuration saved there; flags that would change the result "
    "are refused.",
    "checkpoint_seconds": "Time between two checkpoints.",
    "checkpoint_steps": "Steps between two checkpoints, as well.",
    "workers": "Processes that read ahead; 0 reads in the training process.",
    "device": "auto, cpu or cuda.",
    "precision": "Of the computation.",
    "devices": "Processes on this machine, one device each.",
    "strategy": "auto, ddp or fully_sharded.",
    "progress": "Without the progress bar.",
}


def command(words: Sequence[str]) -> Command:
    """The command for these words; to resume a run is to start from its configuration."""
    resumed = _value_of("--resume", words)
    if resumed is not None:
        if _value_of("--output", words) or _value_of("--config", words):
            raise InputError(
                "fit: --resume takes folder and configuration from the run; leave --output and --config out"
            )
        if not (Path(resumed) / _CONFIG).is_file():
            raise InputError(
                f"{resumed}: no run to resume, the folder has no {_CONFIG}; start one with --output {resumed}"
            )
    return Command(
        "fit", _DESCRIPTION, _EXAMPLES, _options(), _run, defaults=str(Path(resumed) / _CONFIG) if resumed else None
    )


def _options() -> list[Option]:
    changes: dict[str, dict[str, Any]] = {name: {"help": text} for name, text in _HELP.items()}
    for group, names in _GROUPS.items():
        for name in names:
            changes.setdefault(name, {})["group"] = group
    changes["data"] = {
        "positional": True,
        "metavar": "FILE",
        "help": "Data file, Zarr store, folder, or a pattern in quotes.",
    }
    changes["model"]["hint"] = Literal[tuple(registry)]
    changes["resume"] |= {"hint": Path | None, "default": None, "metavar": "RUN"}
    changes["output"]["metavar"] = "RUN"
    return [*options_of(fit, changes=changes), *declaration_options()]


def _run(call: Invocation) -> None:
    values = dict(call.values)
    resumed, data = values["resume"], Path(values["data"]).expanduser().absolute()
    stem = re.sub(r"[*?\[\]]+", "", data.stem).strip("-_. ") or "run"  # of a pattern, what is no mark
    output = Path(resumed or values["output"] or f"{stem}-{values['model']}").expanduser()
    declared = {option.name: values.pop(option.name) for option in declaration_options()}
    finished = resumed is not None and (output / "surrogate" / "surrogate.json").is_file()
    values |= {"data": data, "output": output, "resume": resumed is not None}
    with contextlib.ExitStack() as stack:
        if is_declared(declared):
            values["data"] = stack.enter_context(open_declared(data, declared))
        stack.enter_context(_run_folder(call, output, data, resume=values["resume"]))
        warnings.simplefilter("ignore", SkillWarning)  # it stands below the table that fit prints
        fit(**values)
    if is_first_process():
        if finished:
            say(f"{output} is finished, nothing is left to train")
        say(f"use it: sciops predict {output} NEW.h5 prediction.h5")


@contextlib.contextmanager
def _run_folder(call: Invocation, output: Path, data: Path, *, resume: bool) -> Iterator[None]:
    """The folder of a new run with its configuration; a run that fails before its first checkpoint leaves nothing."""
    fresh = not resume and is_first_process()
    missing = [folder for folder in (output, *output.absolute().parents) if not folder.exists()]
    if fresh:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise DataError(f"{output}: exists already; choose another --output, or go on with --resume {output}")
        output.mkdir(parents=True, exist_ok=True)
    try:
        if fresh:
            declaration = call.values["declaration"]
            places = {} if declaration is None else {"declaration": str(declaration.expanduser().absolute())}
            _write(output / _CONFIG, call.yaml(data=str(data), output=None, resume=None, **places))
        yield
    except KeyboardInterrupt:
        if _has_checkpoint(output):
            raise KeyboardInterrupt(f"go on with: sciops fit --resume {output}") from None
        if fresh:
            _clear(output, missing)
        raise KeyboardInterrupt("nothing was saved yet") from None
    except Exception:
        if fresh and not _has_checkpoint(output):
            _clear(output, missing)
        raise


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _has_checkpoint(output: Path) -> bool:
    return any((output / "checkpoints").glob("*")) or (output / "surrogate").exists()


def _clear(output: Path, missing: Sequence[Path]) -> None:
    """Remove what this run wrote, and the folders that were not there before."""
    shutil.rmtree(missing[-1] if missing else output, ignore_errors=True)
    if not missing:  # it was there, and empty
        output.mkdir(exist_ok=True)


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    for index, word in enumerate(words):
        if word == flag:
            return words[index + 1] if index + 1 < len(words) else None
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
