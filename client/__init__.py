"""The old name of ``errata_client``, with a warning. A distribution of the client alone does not have it."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings

import errata_client
from errata_client import *  # noqa: F403
from errata_client import __all__ as __all__

warnings.warn("the package client is now errata_client: import that instead", DeprecationWarning, stacklevel=2)
# Under both names a module is one module, or its exceptions would be two classes each.
for _module in pkgutil.iter_modules(errata_client.__path__):
    sys.modules[f"{__name__}.{_module.name}"] = importlib.import_module(f"errata_client.{_module.name}")
