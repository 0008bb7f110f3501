"""Endpoints, mounts, fences and counters, blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmaos_ray.blocking.face import Face

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.sigmap import Endpoint, Fence


class ServersFace(Face):
    """See ``fslib.servers``."""

    def mk_endpoint_file(self, pn: str, endpoint: Endpoint) -> None:
        self.run(self._clnt.mk_endpoint_file(pn, endpoint))

    def mk_leased_endpoint(self, pn: str, endpoint: Endpoint, lease: object) -> None:
        self.run(self._clnt.mk_leased_endpoint(pn, endpoint, lease))

    def write_endpoint_file(self, pn: str, endpoint: Endpoint) -> None:
        self.run(self._clnt.write_endpoint_file(pn, endpoint))

    def read_endpoint(self, pn: str) -> Endpoint:
        return self.run(self._clnt.read_endpoint(pn))

    def copy_endpoint(self, pn: str) -> tuple[Endpoint, str]:
        return self.run(self._clnt.copy_endpoint(pn))

    def resolve_mount(self, pn: str) -> tuple[str, bool]:
        return self.run(self._clnt.resolve_mount(pn))

    def resolve_mounts(self, pn: str) -> str:
        return self.run(self._clnt.resolve_mounts(pn))

    # -- mounts

    def mount_tree(self, endpoint: Endpoint, tree: str, mount: str) -> None:
        self.run(self._clnt.mount_tree(endpoint, tree, mount))

    def mounts(self) -> dict[str, Endpoint]:
        return self.run(self._clnt.mounts())

    def detach(self, pn: str) -> None:
        self.run(self._clnt.detach(pn))

    def disconnect(self, pn: str) -> None:
        self.run(self._clnt.disconnect(pn))

    def disconnected(self) -> bool:
        return self.run(self._clnt.disconnected())

    def path_last_mount(self, pn: str) -> tuple[str, str]:
        return self.run(self._clnt.path_last_mount(pn))

    def get_named_endpoint(self, realm: str = "") -> Endpoint:
        return self.run(self._clnt.get_named_endpoint(realm))

    def invalidate_named_endpoint(self) -> None:
        self.run(self._clnt.invalidate_named_endpoint())

    def new_root_mount(self, root: str, pn: str) -> None:
        self.run(self._clnt.new_root_mount(root, pn))

    # -- what servers tell of themselves

    def get_fences(self, directory: str) -> list[Fence]:
        return self.run(self._clnt.get_fences(directory))

    def remove_fence(self, directories: Iterable[str]) -> None:
        self.run(self._clnt.remove_fence(list(directories)))

    def read_srv_stats(self, pn: str) -> dict[str, Any]:
        return self.run(self._clnt.read_srv_stats(pn))

    def read_rpc_stats(self, pn: str) -> dict[str, Any]:
        return self.run(self._clnt.read_rpc_stats(pn))

    def read_pstats(self) -> dict[str, Any]:
        return self.run(self._clnt.read_pstats())
