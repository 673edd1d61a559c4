from .component import Command as Command
from .component import Component as Component
from .component import Config as Config
from .component import Recipe as Recipe
from .hookspecs import hookimpl as hookimpl
from .registry import Registry as Registry
from .registry import default_registry as default_registry
from .validate import validate as validate
