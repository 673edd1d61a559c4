"""From a score to a decision with a stated false-alarm rate: pure functions of numbers and arrays, without torch.

``conformal`` has the statistics, ``calibration`` what is saved of the normal images, ``rule`` the thresholds that
follow from it, ``verdict`` the decision on one image. ``risk_control``, ``pixel_rule`` and ``regions`` are the same for
pixels, ``batch`` is about a folder as a whole, ``drift`` about a stream, ``temporal`` about the frames of a video.
What is promised, exactly, is on the page ``docs/inspection.md``.
"""
