"""Copies of torch-free files of the core; see plugins/vlmad-edge/build/shared.py."""
