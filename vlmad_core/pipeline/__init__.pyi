from .build import assemble as assemble
from .build import make_backbone as make_backbone
from .build import save_recipe as save_recipe
from .feedback import apply_feedback as apply_feedback
from .fuse import Fuse as Fuse
from .pipeline import Pipeline as Pipeline
from .spec import PartSpec as PartSpec
from .spec import PipelineSpec as PipelineSpec
