"""Plug-ins of the first edition import `Component` from here; new ones take `harness.Component`."""

from harness.core.config import Component, build, load

__all__ = ["Component", "build", "load"]
