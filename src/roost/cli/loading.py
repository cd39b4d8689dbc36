"""Finding an application by ``module:name``, with an answer for every way it can be missing."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from types import ModuleType

from roost.errors import ConfigurationError, NotFound
from roost.sdk.app import App


def load_app(place: str) -> App:
    """The `App` at ``module:name`` (``app`` without a name), the current folder first on the path.

    Raises `NotFound` where the module or the name does not exist, `ConfigurationError` where it is something else or
    the module cannot be imported.
    """
    module_name, _, name = place.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise ConfigurationError(
            f"{module_name!r} is a file, not a module", path="app", help=f"write {dotted}:{name or 'app'}"
        )
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _import(module_name, folder)
    return _app(module, name or "app")


def _import(name: str, folder: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotFound(
                f"there is no module {error.name!r}",
                path="app",
                help=f"it was looked for in {folder} and among the installed packages; is this the right folder?",
            ) from None
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> ConfigurationError:
    frames = traceback.extract_tb(error.__traceback__)
    # The importer's own frames say nothing about the program.
    own = [frame for frame in frames if not frame.filename.startswith("<frozen") and frame.filename != __file__]
    own = [frame for frame in own if not frame.filename.endswith("importlib/__init__.py")]
    where = f"{own[-1].filename}:{own[-1].lineno}" if own else name
    return ConfigurationError(
        f"{name} cannot be imported: {type(error).__name__}: {error}", path="app", help=f"it was raised at {where}"
    )


def _app(module: ModuleType, name: str) -> App:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            apps = [key for key, value in vars(module).items() if isinstance(value, App)]
            near = apps or get_close_matches(part, vars(module), n=1)
            hint = f"did you mean {' or '.join(f'{module.__name__}:{one}' for one in near)}?" if near else ""
            raise NotFound(
                f"{module.__name__} has no {name!r}", path="app", help=hint or "define it: app = roost.App()"
            )
        found = getattr(found, part)
    if not isinstance(found, App):
        raise ConfigurationError(
            f"{module.__name__}:{name} is a {type(found).__name__}, not a roost.App", path="app", help="name the App"
        )
    return found
