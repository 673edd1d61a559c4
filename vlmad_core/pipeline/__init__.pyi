from .fuse import Fuse as Fuse
from .pipeline import Pipeline as Pipeline
from .recipes import save_recipe as save_recipe
from .spec import PipelineSpec as PipelineSpec
