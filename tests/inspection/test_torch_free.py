import subprocess
import sys


def test_decisions_need_no_torch_and_no_slow_statistics_package():
    names = (
        "batch calibration conformal drift outline persistence pixel_rule regions risk_control rule temporal verdict"
    )
    code = f"""
import importlib, sys
for name in {names.split()!r}:
    importlib.import_module("vlmad_core.inspection." + name)
print([name for name in ("torch", "scipy.stats", "PIL", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
