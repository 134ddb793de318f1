"""Jobs on many machines through Dask distributed, whose workers see the same folders under the same names."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import sarcoscope
from sarcoscope.core.errors import InputError, MissingExtraError, SarcoscopeError
from sarcoscope.stages.pool import Done, Hears, Job, Work

if TYPE_CHECKING:
    from distributed import Client

_ANSWER_SECONDS = 30


def run_on_cluster(
    jobs: Sequence[Job],
    work: Work[Job, Done],
    hears: Hears[Job, Done],
    *,
    address: str,
    lost: Callable[[Job], SarcoscopeError],
) -> None:
    """As `pool.run_jobs`, on the workers of the scheduler at `address`, e.g. 'tcp://10.0.0.1:8786'.

    The scheduler gives the job of a lost worker to another one; a job that loses several has `lost` for an error.
    Tiles are not counted on the way, slides are. Raises MissingExtraError without distributed, and InputError where
    no scheduler answers, its workers have another version of sarcoscope, or it goes away.
    """
    try:
        from distributed import CancelledError, KilledWorker, as_completed  # noqa: PLC0415 - only where asked for
    except ModuleNotFoundError as error:
        raise MissingExtraError("a cluster needs distributed", "in a checkout: pip install '.[cluster]'") from error
    with _connected(address) as client, client.as_current():
        futures = {client.submit(partial(_on_worker, work), job, pure=False): job for job in jobs}
        for future in as_completed(futures):
            job = futures[future]
            try:
                done = future.result()
            except KilledWorker:
                hears.failed(job, lost(job))
            except SarcoscopeError as error:
                hears.failed(job, error)
            except CancelledError as error:
                raise InputError(
                    f"the cluster at {address} went away", "run the same command again to go on"
                ) from error
            else:
                hears.finished(job, done)


def _connected(address: str) -> "Client":
    from distributed import Client  # noqa: PLC0415 - only where asked for

    try:
        client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        advice = "start dask scheduler and dask worker, and give the scheduler's address, e.g. tcp://10.0.0.1:8786"
        raise InputError(f"no scheduler answers at {address}", advice) from error
    _check_versions(client, address)
    return client


def _check_versions(client: "Client", address: str) -> None:
    found: dict[str, Any] = client.run(_version, on_error="return")
    if not found:
        client.close()
        raise InputError(f"the cluster at {address} has no workers", "start dask worker on each machine")
    for worker, version in found.items():
        if version != sarcoscope.__version__:
            client.close()
            problem = f"worker {worker} has sarcoscope {version}, this is {sarcoscope.__version__}"
            raise InputError(problem, "install the same version, with the extra cluster, on every machine")


def _version() -> str:
    return sarcoscope.__version__


def _on_worker(work: Work[Job, Done], job: Job) -> Done:
    return work(job, _unheard)


def _unheard(_planned: int, _done: int) -> None:
    """Tiles are not counted across machines."""
