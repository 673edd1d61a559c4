from .plan import BenchmarkPlan as BenchmarkPlan
from .run import BenchmarkResults as BenchmarkResults
from .run import run_benchmark as run_benchmark
