from .options import TrainingOptions as TrainingOptions
from .published import import_checkpoint as import_checkpoint
from .published import read_published as read_published
from .report import TrainingReport as TrainingReport
from .train import train as train
