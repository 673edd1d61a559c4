from .planning import plan_study as plan_study
from .report.content import StudyReport as StudyReport
from .run import study as study
from .settings import StudySettings as StudySettings
