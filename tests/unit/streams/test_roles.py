"""Roles as they are written, and which group a flow belongs to: the only two things that differ between the logs."""

from __future__ import annotations

import pytest

from schemas import topics
from streams.cli.options import roles_named
from streams.cli.output import UserError
from streams.flows.groups import ROLES, by_group, group_of, one_group, role_of, stores_of, topics_of
from streams.runtime.app import all_flows
from streams.settings.settings import Settings

FLOWS = all_flows(Settings())


def test_roles_are_read_as_people_write_them() -> None:
    assert roles_named("Translate, fold", ROLES) == ("fold", "translate")
    assert roles_named("serve,", ROLES) == ("serve",)
    assert roles_named(None, ROLES) == ROLES


@pytest.mark.parametrize("text", ["", ",", "fold,cook"])
def test_what_is_no_role_is_told_with_those_there_are(text: str) -> None:
    with pytest.raises(UserError, match="fold, translate, act, serve"):
        roles_named(text, ROLES)


def test_on_kafka_translators_and_folds_are_two_groups_on_the_embedded_log_one() -> None:
    assert set(by_group(FLOWS, one_group)) == {"crossdock"}
    groups = by_group(FLOWS, group_of(is_kafka=True))
    assert set(groups) == {"crossdock.translate", "crossdock.fold"}
    assert {role_of(flow) for flow in groups["crossdock.fold"]} == {"fold"}
    assert sum(map(len, groups.values())) == len(FLOWS)


def test_a_group_reads_each_of_its_topics_and_keeps_the_rows_of_each_flow() -> None:
    groups = by_group(FLOWS, group_of(is_kafka=True))
    read = [name for flows in groups.values() for name in topics_of(flows)]
    assert len(read) == len(set(read))
    assert {topics.RAW_WMS.name, topics.PROMISE_INBOX.name, topics.raw_channel("web").name} < set(read)
    assert stores_of(groups["crossdock.fold"]) == sorted(flow.name for flow in groups["crossdock.fold"])
    assert f"{topics.WMS}.{topics.RAW_WMS.name}" in stores_of(groups["crossdock.translate"])
