from .exported import ExportedPipeline as ExportedPipeline
from .exported import load_exported as load_exported
from .pipeline_export import ExportReport as ExportReport
from .pipeline_export import export_detector as export_detector
