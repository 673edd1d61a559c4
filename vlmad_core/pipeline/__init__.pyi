from .build import save_recipe as save_recipe
from .fuse import Fuse as Fuse
from .pipeline import Pipeline as Pipeline
from .spec import PipelineSpec as PipelineSpec
