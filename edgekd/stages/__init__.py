"""Stages: one file a stage; each joins workers and measures. They never judge, print, or write outside their folder."""

from edgekd.stages.context import Context, Input

__all__ = ["Context", "Input"]
