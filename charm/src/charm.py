#!/usr/bin/env python3
"""The charm: what Juju tells, brought to retrofit; what retrofit says, told to Juju.

Every hook does the same: look at how things are meant to be, and make them so. Juju tells a unit
that has lost the leadership of nothing, so nothing here waits to be told.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import ops
import yaml

import keystone
import options
from retrofit_workload import Bundle, Workload, WorkloadError
from standing import standing

logger = logging.getLogger(__name__)

CREDENTIALS = "identity-credentials"
CERTIFICATES = "certificates"
BUNDLE = "retrofit-bundle"
STATUS: Mapping[str, type[ops.StatusBase]] = {
    "blocked": ops.BlockedStatus,
    "waiting": ops.WaitingStatus,
    "maintenance": ops.MaintenanceStatus,
    "active": ops.ActiveStatus,
}


class RetrofitCharm(ops.CharmBase):
    """One unit of retrofit; the leader is the one that runs."""

    root: ClassVar[Path] = Path("/")

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._workload = Workload(root=self.root)
        self._problem: ops.StatusBase | None = None
        """What stands in the way of everything."""
        self._failed_upgrade: ops.StatusBase | None = None
        """Why the version that is attached is not used; the one before is, meanwhile."""
        on = self.on
        for event in (on.install, on.upgrade_charm):
            framework.observe(event, self._on_install)
        relations = (on[CREDENTIALS], on[CERTIFICATES])
        for event in (
            on.start,
            on.config_changed,
            on.leader_elected,
            on.update_status,
            *(relation.relation_created for relation in relations),
            *(relation.relation_joined for relation in relations),
            *(relation.relation_changed for relation in relations),
            *(relation.relation_departed for relation in relations),
            *(relation.relation_broken for relation in relations),
        ):
            framework.observe(event, self._on_any)
        framework.observe(on.stop, self._on_stop)
        framework.observe(on.remove, self._on_remove)
        framework.observe(on.collect_unit_status, self._on_collect_unit_status)
        for name in self.meta.actions:
            framework.observe(on[name].action, self._on_action)

    def _on_install(self, _event: ops.EventBase) -> None:
        self.unit.status = ops.MaintenanceStatus("installing packages")
        try:
            self._workload.install_packages()
        except WorkloadError as error:
            self._problem = ops.BlockedStatus(f"packages cannot be installed: {error}")
            return
        self._reconcile()

    def _on_any(self, _event: ops.EventBase) -> None:
        self._reconcile()

    def _on_stop(self, _event: ops.StopEvent) -> None:
        self._workload.unschedule()
        self._problem = ops.MaintenanceStatus("stopped")

    def _on_remove(self, _event: ops.RemoveEvent) -> None:
        self._workload.remove()
        self._problem = ops.MaintenanceStatus("removed")

    def _on_action(self, event: ops.ActionEvent) -> None:
        """Have retrofit do the action: it tells Juju progress, results and failure by itself."""
        self._reconcile()
        name = event.handle.kind.removesuffix("_action").replace("_", "-")
        if self._problem is not None:
            event.fail(f"the unit is not ready: {self._problem.message}")
            return
        exit_code = self._workload.act(name)
        if exit_code != 0:
            event.fail(f"retrofit-charm-action ended with exit code {exit_code}")

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(self._problem or self._failed_upgrade or self._standing())

    def _standing(self) -> ops.StatusBase:
        try:
            answer = self._workload.status()
            auto = bool(self.config["auto-retrofit"])
            kind, text = standing(answer, leader=self.unit.is_leader(), auto=auto)
        except WorkloadError as error:
            return ops.WaitingStatus(f"retrofit does not answer: {error}")
        except (LookupError, TypeError) as error:  # the bundle has a version of another time
            return ops.WaitingStatus(f"retrofit's answer is not understood: {error!r}")
        return STATUS[kind](text)

    def _reconcile(self) -> None:
        """Make everything as it is meant to be; `_problem` is what stands in the way."""
        self._problem = self._made_so()
        if self._problem is not None:
            logger.info("nothing is scheduled: %s", self._problem.message)
            self._workload.unschedule()

    def _made_so(self) -> ops.StatusBase | None:
        try:
            self._request_credentials()
            missing = self._install() or self._connect()
            if missing is not None:
                return missing
            calendar = options.calendar(self.config)
            self._workload.write_authorities(self._further_authorities())
            self._workload.write_config(options.toml(self._settings()))
            if self._is_to_run:
                self._workload.schedule(calendar)
            else:
                self._workload.unschedule()
        except (options.OptionError, WorkloadError, keystone.UnusableKeystoneError) as error:
            return ops.BlockedStatus(str(error))
        return None

    @property
    def _is_to_run(self) -> bool:
        return self.unit.is_leader() and bool(self.config["auto-retrofit"])

    def _install(self) -> ops.StatusBase | None:
        """Install the version that is attached, where it is not the one that is used."""
        try:
            file = self.model.resources.fetch(BUNDLE)
        except (NameError, ops.ModelError):
            file = None
        if file is None or not file.exists() or file.stat().st_size == 0:
            if self._workload.is_installed:
                return None
            return ops.BlockedStatus(f"missing resource {BUNDLE}: juju attach-resource")
        bundle = Bundle(file=file)
        if self._workload.is_current(bundle):
            return None
        self.unit.status = ops.MaintenanceStatus("installing retrofit")
        try:
            self._workload.install(bundle)
        except WorkloadError as error:
            if not self._workload.is_installed:
                raise
            self._failed_upgrade = ops.BlockedStatus(f"upgrade failed: {error}")
            return None
        self._workload.put_units_in_place()
        self.unit.set_workload_version(self._workload.version())
        return None

    def _connect(self) -> ops.StatusBase | None:
        """Write the credentials that keystone tells; forget those that it told no longer."""
        relation = self._relation(CREDENTIALS)
        if relation is None:
            self._workload.remove_clouds()
            return ops.BlockedStatus(f"missing relation {CREDENTIALS}")
        found = keystone.credentials(self._units_data(relation))
        if found is None:
            # What was told before stays good: keystone's units come and go.
            if self._workload.clouds_yaml.exists():
                return None
            return ops.WaitingStatus("waiting for keystone to make our user")
        document = found.clouds_yaml(
            ca_file=str(self._workload.ca_file),
            region=str(self.config["region"]) or None,
            interface="internal" if self.config["use-internal-endpoints"] else "public",
        )
        self._workload.write_clouds(yaml.safe_dump(document))
        return None

    def _request_credentials(self) -> None:
        relation = self._relation(CREDENTIALS)
        if relation is not None:
            asked = keystone.request(str(self.config["grants"]))
            ours = relation.data[self.unit]
            if "requested_grants" in ours and "requested_grants" not in asked:
                del ours["requested_grants"]
            ours.update(asked)

    def _settings(self) -> dict[str, object]:
        return options.settings(
            self.config,
            clouds_yaml=str(self._workload.clouds_yaml),
            scheduled=self._is_to_run,
            environment=os.environ,
        )

    def _further_authorities(self) -> str:
        """Return as PEM what the option ssl_ca and the relation certificates tell."""
        found = []
        given = str(self.config["ssl_ca"])
        if given:
            try:
                found.append(base64.b64decode(given, validate=True).decode("ascii"))
            except (binascii.Error, ValueError):
                raise options.OptionError("option ssl_ca is not PEM in base64") from None
        relation = self._relation(CERTIFICATES)
        if relation is not None:
            for data in self._units_data(relation):
                found += [data[key] for key in ("ca", "chain") if data.get(key)]
        return "".join(f"{pem.strip()}\n" for pem in dict.fromkeys(found))

    def _relation(self, name: str) -> ops.Relation | None:
        """Return a relation; one that is being broken ops does not list any more."""
        return next(iter(self.model.relations[name]), None)

    @staticmethod
    def _units_data(relation: ops.Relation) -> list[Mapping[str, str]]:
        """Return the data of the other side's units, always in the same order."""
        units = sorted(relation.units, key=lambda unit: unit.name)
        return [relation.data[unit] for unit in units]


if __name__ == "__main__":
    ops.main(RetrofitCharm)
