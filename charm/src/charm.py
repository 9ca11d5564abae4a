#!/usr/bin/env python3
"""The charm: from Juju's options and relations to retrofit, and from retrofit's status to Juju.

Every hook reconciles: it compares the machine with the options, and changes what differs. Juju
sends no event to a unit that lost the leadership, so nothing here waits for one.
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
from unit_status import UnknownAnswerError, unit_status

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
    """One unit of retrofit; only the leader runs it."""

    root: ClassVar[Path] = Path("/")

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._workload = Workload(root=self.root)
        self._problem: ops.StatusBase | None = None
        """Why nothing can be done."""
        self._failed_upgrade: ops.StatusBase | None = None
        """Why the attached version is not used; the previous one is, meanwhile."""
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
        self._unschedule()
        self._problem = ops.MaintenanceStatus("stopped")

    def _on_remove(self, _event: ops.RemoveEvent) -> None:
        self._workload.remove()
        self._problem = ops.MaintenanceStatus("removed")

    def _on_action(self, event: ops.ActionEvent) -> None:
        """Have retrofit do the action: it sends progress, results and failure to Juju itself."""
        self._reconcile()
        name = event.handle.kind.removesuffix("_action").replace("_", "-")
        if self._problem is not None:
            event.fail(f"the unit is not ready: {self._problem.message}")
            return
        exit_code = self._workload.act(name)
        if exit_code != 0:
            event.fail(f"retrofit-charm-action ended with exit code {exit_code}")

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(self._problem or self._failed_upgrade or self._status())

    def _status(self) -> ops.StatusBase:
        try:
            answer = self._workload.status()
            auto = bool(self.config["auto-retrofit"])
            kind, text = unit_status(answer, leader=self.unit.is_leader(), auto=auto)
        except WorkloadError as error:
            return ops.WaitingStatus(f"retrofit does not answer: {error}")
        except UnknownAnswerError as error:  # the bundle is of another version
            return ops.BlockedStatus(
                f"retrofit's answer is not understood, charm and bundle differ in version: {error}"
            )
        return STATUS[kind](text)

    def _reconcile(self) -> None:
        """Make the machine what the options say; `_problem` is what prevents that."""
        self._problem = self._apply()
        if self._problem is not None:
            logger.info("nothing is scheduled: %s", self._problem.message)
            self._unschedule()

    def _unschedule(self) -> None:
        self._workload.unschedule()
        self._workload.unschedule_rollover()

    def _apply(self) -> ops.StatusBase | None:
        try:
            self._request_credentials()
            missing = self._install() or self._connect()
            if missing is not None:
                return missing
            calendar = options.calendar(self.config)
            self._workload.write_authorities(self._further_authorities())
            self._workload.write_controller_ca(options.controller_ca(self.config))
            self._workload.write_archives(
                options.archive_settings(self.config, str(self._workload.config.parent)).files
            )
            self._workload.write_config(options.toml(self._settings()))
            if self._should_run:
                self._workload.schedule(calendar)
            else:
                self._workload.unschedule()
            if self.unit.is_leader() and self.config["auto-rollover"]:
                self._workload.schedule_rollover()
            else:
                self._workload.unschedule_rollover()
        except (options.OptionError, WorkloadError, keystone.UnusableKeystoneError) as error:
            return ops.BlockedStatus(str(error))
        return None

    @property
    def _should_run(self) -> bool:
        return self.unit.is_leader() and bool(self.config["auto-retrofit"])

    def _install(self) -> ops.StatusBase | None:
        """Install the attached version, unless it is in use already."""
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
        """Write the credentials from keystone; delete them when the relation is gone."""
        relation = self._relation(CREDENTIALS)
        if relation is None:
            self._workload.remove_clouds()
            return ops.BlockedStatus(f"missing relation {CREDENTIALS}")
        found = keystone.credentials(self._units_data(relation))
        if found is None:
            # The credentials from before stay valid: keystone's units come and go.
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
            wanted = keystone.request(str(self.config["grants"]))
            ours = relation.data[self.unit]
            if "requested_grants" in ours and "requested_grants" not in wanted:
                del ours["requested_grants"]
            ours.update(wanted)

    def _settings(self) -> dict[str, object]:
        return options.settings(
            self.config,
            clouds_yaml=str(self._workload.clouds_yaml),
            scheduled=self._should_run,
            environment=os.environ,
            controller_ca=self._workload.known_controller_ca,
            directory=str(self._workload.config.parent),
        )

    def _further_authorities(self) -> str:
        """Return the authorities of option ssl_ca and relation certificates as PEM."""
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
        """Return a relation; ops does not list one that is being broken."""
        return next(iter(self.model.relations[name]), None)

    @staticmethod
    def _units_data(relation: ops.Relation) -> list[Mapping[str, str]]:
        """Return the data of the other side's units, always in the same order."""
        units = sorted(relation.units, key=lambda unit: unit.name)
        return [relation.data[unit] for unit in units]


if __name__ == "__main__":
    ops.main(RetrofitCharm)
