from .exported import ExportedPipeline as ExportedPipeline
from .exported import load_exported as load_exported
from .exporting import ExportReport as ExportReport
from .exporting import export_detector as export_detector
