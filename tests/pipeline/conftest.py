"""The toy chain, walked in this process or by the worker."""

from toy_chain import toy_chain, walk

__all__ = ["toy_chain", "walk"]
