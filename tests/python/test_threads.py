"""How many threads calls use, and what OpenMP's library is told when it is loaded."""

import os
import threading

import numpy as np
import pytest

import aotiny
from models import affine, failure, package_fixture, x  # noqa: F401

PROCESSORS = len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def default_afterwards():
    yield
    aotiny.set_num_threads(0)


def environment(**changes):
    """This process's, without what has a say about threads."""
    told = {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    return {k: v for k, v in os.environ.items() if k not in told} | changes


def test_the_number_is_for_every_thread():
    aotiny.set_num_threads(3)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(aotiny.get_num_threads()))
    thread.start()
    thread.join()
    assert [aotiny.get_num_threads(), *seen] == [3, 3]
    aotiny.set_num_threads(0)
    assert (
        1 <= aotiny.get_num_threads() <= max(PROCESSORS, int(os.environ.get("OMP_NUM_THREADS", 0)))
    )


@pytest.mark.parametrize("count", [-1, 4097])
def test_other_numbers_are_refused(count):
    error = failure(aotiny.set_num_threads, count)
    assert error.name == "InvalidArgument"
    assert str(count) in str(error) and "0..4096" in str(error)


def test_the_default_is_what_the_process_may_use(run_python):
    code = """
import os, sys
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import aotiny
print(aotiny.get_num_threads())
"""
    assert run_python(code, env=environment()).split() == ["1"]
    # What is asked for is meant.
    assert run_python(code, env=environment(OMP_NUM_THREADS="3")).split() == ["3"]


def test_a_mask_that_changes_is_seen_when_a_model_is_loaded(package, run_python):
    code = """
import os, sys, aotiny
aotiny.get_num_threads()
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
model = aotiny.Model(sys.argv[1])
print(aotiny.get_num_threads())
"""
    assert run_python(code, package("affine"), env=environment()).split() == ["1"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_models_run_with_any_number(package, count):
    aotiny.set_num_threads(count)
    model = aotiny.Model(package("affine"), num_models=2)
    inputs = [x(rows) for rows in (1, 7, 64)]
    wrong = []

    def work():
        for _ in range(20):
            for value in inputs:
                (y,) = model(value)
                if not np.allclose(y.numpy(), affine(value, 2), rtol=1e-6):
                    wrong.append(y.numpy())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert aotiny.get_num_threads() == count


IMPORT = """
import os, sys
before = dict(os.environ)
import aotiny
assert dict(os.environ) == before
"""


def spin_count(run_python, code, **changes):
    """What libgomp says it was told, on stderr, which a child of run_python's own prints."""
    child = f"""
import subprocess, sys
code = {code!r}
done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
print(done.stderr)
"""
    printed = run_python(child, env=environment(OMP_DISPLAY_ENV="VERBOSE", **changes))
    (line,) = (line for line in printed.splitlines() if "GOMP_SPINCOUNT" in line)
    return line.split("=")[1].strip(" '")


def test_waiting_threads_spin_briefly(run_python):
    assert spin_count(run_python, IMPORT) == "3000"


@pytest.mark.parametrize("settings", [{"GOMP_SPINCOUNT": "77"}, {"OMP_WAIT_POLICY": "passive"}])
def test_the_users_settings_stay(run_python, settings):
    assert spin_count(run_python, IMPORT, **settings) == settings.get("GOMP_SPINCOUNT", "0")
