"""WinCLIP and WinCLIP+: multi-scale windows, each through the vision tower by itself."""
