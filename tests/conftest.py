import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run beside one another, and threads that wait for cores spin

settings.register_profile("sarcoscope", deadline=None, derandomize=True)  # time limits are not tests
settings.load_profile("sarcoscope")

REPO = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_slides() -> Path:
    """The folder of small real slides that lies beside a checkout, where it does."""
    folder = REPO.parent / "shared" / "data" / "slides"
    if not folder.is_dir():
        pytest.skip("shared/data/slides is absent: real slides not tested")
    return folder
