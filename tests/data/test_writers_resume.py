"""A writer that is really killed: what it had appended is there, and the same call goes on."""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
import time

import h5py
import numpy as np
import pytest
import xarray as xr

from sciops.data.files import open, write
from sciops.data.writing import journal
from sciops.data.writing.appending import StreamWriter
from sciops.data.writing.journal import RecoverableSink, journal_of
from sciops.errors import DataError, InputError

SAMPLES = 12
WAYS = {"plain": {}, "gzip": {"compression": "gzip"}, "chunks": {"step": 5, "chunks": {"sample": 3, "x": 16}}}
several_ways = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)


def simulated(start, stop, n=SAMPLES):
    """Samples that are a function of their number; few to a chunk, so that chunks are written more than once."""
    fields = np.stack([np.random.default_rng(i).normal(size=(40, 60)) for i in range(start, stop)])
    return xr.Dataset(
        {
            "u": (("sample", "x", "y"), fields, {"units": "K"}),
            "nu": ("sample", np.arange(start, stop) / n),
            "inside": (("x", "y"), np.eye(40, 60) > 0),
            "name": ("sample", np.array([f"run {i}" for i in range(start, stop)], object)),
        },
        {"x": ("x", np.arange(40) / 40, {"kind": "periodic", "lower": 0.0, "upper": 1.0, "units": "m"})},
        {"sample_dim": "sample", "title": "a simulation"},
    )


def simulate(path, step=1, **options):
    with StreamWriter(path, simulated(0, 1), SAMPLES, resume=True, **options) as writer:
        for start in range(writer.written, SAMPLES, step):
            writer.append(simulated(start, min(start + step, SAMPLES)))


def check_whole(path):
    xr.testing.assert_identical(
        xr.open_dataset(path).load().drop_attrs(),
        simulated(0, SAMPLES).drop_attrs().assign_coords(x=np.arange(40) / 40),
    )
    assert open(path).u.attrs["units"] == "K"
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]


def killed(body, delay=None):
    """Run in a forked process; whether it was killed, by itself or after a delay."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - the child must not go on
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def dies(operations, rng):
    """From now on count what reaches the disk, and be killed in the middle of one."""
    left = [operations]

    def fatal(function):
        def counted(*args):
            left[0] -= 1
            if left[0] < 0:
                if len(args) == 3 and isinstance(args[2], memoryview):  # a torn write
                    function(args[0], args[1], args[2][: rng.randrange(len(args[2]) + 1)])
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args)

        return counted

    RecoverableSink._put = fatal(RecoverableSink._put)
    for name in ("replace", "fsync", "unlink"):
        setattr(journal.os, name, fatal(getattr(os, name)))


def committed(path):
    """How many samples the hidden file is said to hold."""
    partial = path.with_name(f".{path.name}.partial")
    if not partial.exists():
        return None
    with RecoverableSink(partial) as sink:
        return None if sink.state is None else sink.state["written"]


def kill_again_and_again(path, rng, at_most, **options):
    """Kill a writer after fewer and fewer operations until it is through; returns how many died."""
    deaths, before = 0, 0
    while not path.exists() and deaths < at_most:
        operations = rng.randrange(1, 60)
        killed(lambda left=operations: (dies(left, rng), simulate(path, **options)))
        deaths += 1
        now = committed(path)
        if now is not None:
            assert now >= before
            before = now
            with h5py.File(path.with_name(f".{path.name}.partial")) as file:
                np.testing.assert_array_equal(file["u"][:now], simulated(0, max(now, 1)).u[:now])
                assert file["nu"].shape == (SAMPLES,)
    if not path.exists():
        simulate(path, **options)
    elif list(path.parent.glob(".*")):  # killed between giving the name and removing the journal
        journal_of(path.with_name(f".{path.name}.partial")).unlink()
    check_whole(path)
    return deaths


@pytest.fixture
def rng():
    seed = int(os.environ.get("SCIOPS_TEST_SEED") or secrets.randbits(31))
    sys.stdout.write(f"SCIOPS_TEST_SEED={seed}\n")
    return random.Random(seed)


@several_ways
def test_killed_within_its_writes(options, tmp_path, rng):
    assert kill_again_and_again(tmp_path / "run.nc", rng, 12, **options) >= 1


def test_killed_from_outside(tmp_path, rng):
    path = tmp_path / "run.nc"
    for _ in range(5):
        killed(lambda: [simulate(path), time.sleep(5)], delay=rng.uniform(0.005, 0.1))
        if path.exists():
            break
    if not path.exists():
        simulate(path)
    for left in tmp_path.glob(".*"):
        left.unlink()
    check_whole(path)


@pytest.mark.slow
@several_ways
def test_killed_many_times(options, tmp_path, rng):
    deaths = 0
    while deaths < 300:
        deaths += kill_again_and_again(tmp_path / "run.nc", rng, 100, **options)
        (tmp_path / "run.nc").unlink()


def test_interrupt_and_error_keep_what_was_appended(tmp_path):
    path = tmp_path / "run.nc"
    for error, stop in ((KeyboardInterrupt, 4), (ZeroDivisionError, 7)):
        with pytest.raises(error), StreamWriter(path, simulated(0, 1), SAMPLES, resume=True) as writer:
            for i in range(writer.written, stop):
                writer.append(simulated(i, i + 1))
            raise error
        assert committed(path) == stop
    with (
        pytest.raises(DataError, match=r"7 samples were written of 12 announced; the same call with resume=True"),
        StreamWriter(path, simulated(0, 1), SAMPLES, resume=True),
    ):
        pass
    simulate(path)
    check_whole(path)


def test_error_within_an_append_drops_that_sample(tmp_path, monkeypatch):
    path = tmp_path / "run.nc"
    short = pytest.raises(InputError, match="'x' has length 40, in a block 3")
    with short, StreamWriter(path, simulated(0, 1), SAMPLES, resume=True) as writer:
        writer.append(simulated(0, 3))
        writer.append(simulated(3, 4).isel(x=slice(3)))
    assert committed(path) == 3
    simulate(path)
    check_whole(path)


def test_full_disk_keeps_what_was_appended(tmp_path, monkeypatch):
    path = tmp_path / "run.nc"

    def full(self, place, data):
        raise OSError(28, "No space left on device")

    refused = pytest.raises(DataError, match=r"run\.nc: not written, the disk is full")
    with refused, StreamWriter(path, simulated(0, 1), SAMPLES, resume=True) as writer:
        writer.append(simulated(0, 2))
        monkeypatch.setattr(RecoverableSink, "_put", full)
        writer.append(simulated(2, 4))
    monkeypatch.undo()
    assert committed(path) == 2
    simulate(path)
    check_whole(path)


CHANGES = {
    "the values of 'x'": lambda ds: ds.assign_coords(x=("x", np.arange(40) / 39, ds.x.attrs)),
    "the values of 'inside'": lambda ds: ds.assign(inside=~ds.inside),
    "the attributes of 'u'": lambda ds: ds.assign(u=ds.u.assign_attrs(units="C")),
    "the attributes changed": lambda ds: ds.assign_attrs(title="another"),
    "'u' changed": lambda ds: ds.assign(u=ds.u.astype("f4")),
    "of 'v' changed": lambda ds: ds.assign(v=ds.u),
    "of 'nu' changed": lambda ds: ds.drop_vars("nu"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_only_the_same_simulation_goes_on(what, tmp_path):
    path = tmp_path / "run.nc"
    with pytest.raises(KeyboardInterrupt), StreamWriter(path, simulated(0, 1), SAMPLES, resume=True) as writer:
        writer.append(simulated(0, 3))
        raise KeyboardInterrupt
    refused = pytest.raises(DataError, match=rf"run\.nc: cannot be resumed, .*{what}.* since .*\.run\.nc\.partial")
    with refused as caught, StreamWriter(path, CHANGES[what](simulated(0, 1)), SAMPLES, resume=True):
        pass
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="changed since"), StreamWriter(path, simulated(0, 1), 13, resume=True):
        pass
    with pytest.raises(DataError, match="changed since"):
        simulate(path, compression="gzip")
    simulate(path)
    check_whole(path)


def test_two_writers_of_one_file(tmp_path):
    path = tmp_path / "run.nc"
    with pytest.raises(KeyboardInterrupt), StreamWriter(path, simulated(0, 1), SAMPLES, resume=True) as writer:
        writer.append(simulated(0, 2))
        with pytest.raises(DataError, match=r"\.run\.nc\.partial: another process is writing it; wait"):
            simulate(path)
        writer.append(simulated(2, 3))
        raise KeyboardInterrupt
    assert committed(path) == 3


def test_corrupt_journal(tmp_path):
    path = tmp_path / "run.nc"
    with pytest.raises(KeyboardInterrupt), StreamWriter(path, simulated(0, 1), SAMPLES, resume=True) as writer:
        writer.append(simulated(0, 2))
        raise KeyboardInterrupt
    mark = journal_of(tmp_path / ".run.nc.partial")
    mark.write_bytes(mark.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"journal: does not belong to \.run\.nc\.partial or is corrupt; delete"):
        simulate(path)


def test_resume_needs_samples_and_a_free_name(tmp_path):
    with pytest.raises(InputError, match="resume= goes on after a sample"):
        StreamWriter(tmp_path / "run.nc", xr.Dataset({"u": ("x", [1.0])}), 1, resume=True)
    write(simulated(0, 1), tmp_path / "run.nc")
    with pytest.raises(DataError, match="exists already"):
        simulate(tmp_path / "run.nc")
    simulate(tmp_path / "run.nc", overwrite=True)
    check_whole(tmp_path / "run.nc")


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_finished_file_is_left_as_it_is(options, tmp_path):
    path = tmp_path / "run.nc"
    simulate(path, **options)
    before = path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino
    for _ in range(2):
        simulate(path, **options)
    options = {key: value for key, value in options.items() if key != "step"}
    with StreamWriter(path, simulated(0, 1), SAMPLES, resume=True, **options) as writer:
        assert writer.written == SAMPLES
        with pytest.raises(InputError, match=r"run\.nc: is complete, all 12 samples are written"):
            writer.append(simulated(0, 1))
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before
    check_whole(path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda ds: ds.assign_attrs(title="another"), "its attributes"),
        (lambda ds: ds.assign(u=ds.u.assign_attrs(units="C")), "the attributes of 'u'"),
        (lambda ds: ds.assign(inside=~ds.inside), "the values of 'inside'"),
        (lambda ds: ds.assign_coords(x=ds.x + 1), "the values of 'x'"),
        (lambda ds: ds.isel(x=slice(3)), "the shape of 'u'"),
        (lambda ds: ds.assign(u=ds.u.astype("f4")), "the dtype of 'u'"),
        (lambda ds: ds.drop_vars("nu"), "the variable 'nu'"),
    ],
)
def test_a_finished_file_of_another_simulation_is_refused(change, what, tmp_path):
    path = tmp_path / "run.nc"
    simulate(path, SAMPLES)
    before = path.read_bytes()
    with (
        pytest.raises(DataError, match=f"exists already and is not what is to be resumed, {what} is other; give overw"),
        StreamWriter(path, change(simulated(0, 1)), SAMPLES, resume=True),
    ):
        pass
    assert path.read_bytes() == before and sorted(entry.name for entry in tmp_path.iterdir()) == ["run.nc"]


def test_plain_reads_and_writes_of_the_sink(tmp_path, rng):
    """Whatever is written, cut and committed: reading gives what a plain buffer gives, and so does opening again."""
    path, content, kept = tmp_path / "data.bin", bytearray(), bytearray()
    sink = RecoverableSink(path)
    for _ in range(400):
        place, data = rng.randrange(20000), rng.randbytes(rng.choice([0, 1, 100, 9000]))
        kind = rng.random()
        if kind < 0.6:
            sink.seek(place), sink.write(data)
            if data:
                content.extend(bytes(max(0, place + len(data) - len(content))))
                content[place : place + len(data)] = data
        elif kind < 0.8:
            sink.seek(place)
            assert sink.read(len(data)) == bytes(content[place : place + len(data)])
        elif kind < 0.85:
            sink.truncate(place)
            content.extend(bytes(max(0, place - len(content))))
            del content[place:]
        elif kind < 0.95:
            sink.commit({})
            kept = bytearray(content)
        else:
            sink.close()
            sink, content = RecoverableSink(path), bytearray(kept)
        assert sink.seek(0, os.SEEK_END) == len(content)
    sink.seek(0)
    assert sink.read() == bytes(content)
