from .base import Dataset as Dataset
from .base import DatasetInfo as DatasetInfo
from .base import DatasetReader as DatasetReader
from .base import LayoutMatch as LayoutMatch
from .base import Sample as Sample
from .masks import mask_of as mask_of
from .read import read_dataset as read_dataset
