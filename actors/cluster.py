"""All that is said to Ray: joining, placing an actor, calling it, ending it.

The one untyped edge. Above it actors are plain typed objects whose errors are omni's own.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any, Final, Self

import ray
from ray._private import ray_constants
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.link import Address
from actors.stage_actor import Build, Site, StageActor
from omni.config import OmniConfig
from omni.errors import OmniError, StageError, StageLost, StageTimeout
from omni.types import StageHealth, StageName

log = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 30.0
_OBJECT_STORE_BYTES: Final = 80 << 20  # near Ray's least: no chunk ever goes through it


_GPU_SHARES: Final[dict[StageName, float]] = {"hear": 0.1, "see": 0.1, "think": 0.5, "speak": 0.3}
"""Of one GPU: without a share an actor sees none."""


class _PlacedStage(StageActor):
    """The same actor, told by Ray where it stands."""

    def __repr__(self) -> str:
        return str(self.name)  # the prefix of its lines in our log

    async def start_here(self, socket: str, token: str, is_spread: bool) -> Address:
        host: str | None = ray.util.get_node_ip_address() if is_spread else None  # type: ignore[no-untyped-call]
        return await self.start(Site(_node_id(), socket, host, token))


class RemoteStage:
    """A stage actor, as the gateway's process calls it.

    Every method raises StageLost if the actor is dead, StageTimeout if it does not answer, and
    else what the actor raised.
    """

    def __init__(self, name: StageName, handle: Any, is_spread: bool) -> None:
        self._name = name
        self._handle = handle
        self._is_spread = is_spread

    async def start(self, socket: str, token: str, timeout_s: float) -> Address:
        """Load the model; `socket` is the path to listen at."""
        address: Address = await self._call("start_here", timeout_s, socket, token, self._is_spread)
        return address

    async def open(self, session_id: str, epoch: int) -> None:
        await self._call("open", CALL_TIMEOUT_S, session_id, epoch)

    async def close(self, session_id: str) -> None:
        await self._call("close", CALL_TIMEOUT_S, session_id)

    async def meet(self, peers: Mapping[StageName, Address]) -> None:
        await self._call("meet", CALL_TIMEOUT_S, peers)

    async def health(self, timeout_s: float) -> StageHealth:
        health: StageHealth = await self._call("health", timeout_s)
        return health

    async def drain(self, timeout_s: float) -> None:
        await self._call("drain", timeout_s)

    def kill(self) -> None:
        try:
            ray.kill(self._handle, no_restart=True)
        except RayError as error:
            log.debug("nothing to kill: %s", error)

    async def _call(self, method: str, timeout_s: float, *args: object) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await getattr(self._handle, method).remote(*args)
        except TimeoutError as error:
            raise StageTimeout(f"{self._name}: no answer to {method} in {timeout_s:g} s") from error
        except RayTaskError as error:
            if isinstance(error.cause, OmniError):
                raise error.cause from None
            raise StageError(
                f"{self._name}: {type(error.cause).__name__}: {error.cause}"
            ) from error
        except RayActorError as error:
            raise StageLost(f"{self._name}: its worker died") from error
        except RayError as error:
            raise StageError(f"{self._name}: {type(error).__name__}") from error


class Cluster:
    """A Ray cluster: one that was there already, or our own on this machine."""

    def __init__(self, is_ours: bool, is_spread: bool) -> None:
        self._is_ours = is_ours
        self._is_spread = is_spread
        self._namespace = f"omni-{os.urandom(4).hex()}"
        self.node_id = _node_id()

    @classmethod
    async def join(cls, address: str | None) -> Self:
        """Raises StageError if there is no cluster at `address`."""
        if ray.is_initialized():
            return cls(is_ours=False, is_spread=address is not None)
        # Ray reads its switches when its first process starts; it has no arguments for these.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Stages know their own priority; Ray would put all of them behind everything else.
        os.environ[ray_constants.RAY_WORKER_NICENESS] = "0"
        # Off, as on macOS, Ray's ports are on loopback alone; on, they are on every address.
        ray_constants.ENABLE_RAY_CLUSTER = address is not None
        options: dict[str, Any] = {"address": address or "local", "logging_level": logging.ERROR}
        if address is None:
            # Without CPUs of its own Ray keeps no idle workers ready; the stages ask for none.
            options |= {"num_cpus": 0, "include_dashboard": False}
            options["object_store_memory"] = _OBJECT_STORE_BYTES
        try:
            await asyncio.to_thread(ray.init, **options)
        except (ConnectionError, RayError) as error:
            raise StageError(f"cannot join Ray at {address}: {error}") from error
        return cls(is_ours=True, is_spread=address is not None)

    async def leave(self) -> None:
        if self._is_ours:
            await asyncio.to_thread(ray.shutdown)

    def spawn(self, name: StageName, config: OmniConfig, build: Build, number: int) -> RemoteStage:
        """Place a stage's actor; returns at once."""
        actor = ray.remote(_PlacedStage).options(
            name=f"{name}-{number}",
            namespace=self._namespace,
            max_restarts=0,  # the pipeline starts a fresh one, and so knows what it forgot
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(_num_threads(config, name))}},
            **_resources(config, name),
        )
        return RemoteStage(name, actor.remote(name, config, build), self._is_spread)


def _resources(config: OmniConfig, name: StageName) -> dict[str, float]:
    """What Ray sets aside for a stage. No whole CPUs: the stages share what cores there are, and
    take turns by nature. A brain on a GPU claims its share of it here."""
    has_gpu = bool(ray.cluster_resources().get("GPU"))  # type: ignore[no-untyped-call]
    is_wanted = config.brain.kind == "minicpm-o" and config.brain.duplex.device != "cpu"
    return {"num_cpus": 0, "num_gpus": _GPU_SHARES.get(name, 0.0) if has_gpu and is_wanted else 0.0}


def _num_threads(config: OmniConfig, name: StageName) -> int:
    brain = config.brain
    return {
        "vad": 1,
        "hear": brain.hear.num_threads,
        "see": brain.see.num_threads,
        "think": brain.think.num_threads,
        "speak": brain.speak.num_threads,
    }[name]


def _node_id() -> str:
    return str(ray.get_runtime_context().get_node_id())
