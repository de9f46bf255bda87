"""The table of retired names: what it points to exists, and what it retires does not."""

from __future__ import annotations

import importlib

import pytest

from harness.core import retired
from harness.core.config import Component, construct
from harness.errors import ConfigError

RENAMED = sorted(retired._RENAMED.items())


class Client(Component):
    unparsed_attempts: int = 1


@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_a_new_path_can_be_imported(old, new):
    module, _, name = new.partition(":")
    assert hasattr(importlib.import_module(module), name)
    assert retired.new_use(old) == new


@pytest.mark.parametrize(("old", "new"), sorted(retired._MOVED.items()))
def test_a_class_of_a_moved_module_keeps_its_name(old, new):
    assert importlib.import_module(new)
    assert retired.new_use(f"{old}:Something") == f"{new}:Something"


def test_a_path_that_never_changed_has_no_other_name():
    assert retired.new_use("harness.objectives.inpo:INPO") is None


def test_an_old_key_is_refused_with_its_new_name():
    with pytest.raises(ConfigError, match="^'unread_attempts' is now 'unparsed_attempts'$"):
        construct(Client, {"unread_attempts": 2})
    with pytest.raises(ConfigError, match="^judge: 'unread_attempts' is now 'unparsed_attempts'$"):
        construct(Client, {"unread_attempts": 2}, "judge")


def test_a_key_that_another_component_renamed_is_an_unknown_key_here():
    with pytest.raises(ConfigError, match="unknown key 'piece'. Known: unparsed_attempts"):
        construct(Client, {"piece": 2})


def test_which_new_name_it_is_depends_on_the_component():
    assert retired.new_key("called", {"deployment", "model"}) == "deployment"
    assert retired.new_key("called", {"base_name", "tasks"}) == "base_name"
    assert retired.new_key("called", {"model"}) is None


def test_a_component_of_a_users_own_may_still_import_its_class_from_where_it_was():
    import harness
    from harness.config import Component

    assert Component is harness.Component
